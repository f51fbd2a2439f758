/* Loaded into a command by LD_PRELOAD: the n-th write, fsync or rename below a folder fails, as on a full disk.

   XAI_FAULT_CALL: write, fsync or rename; XAI_FAULT_AT: n, from 1; XAI_FAULT_BELOW: the folder; XAI_FAULT_TOLD: a file that is made
   when the call fails. All are read at each call, since they are set after the library was loaded. */

#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static atomic_int calls;

/* Whether this call is the one to fail. */
static int due(const char *call, const char *path) {
    const char *wanted = getenv("XAI_FAULT_CALL"), *at = getenv("XAI_FAULT_AT"), *below = getenv("XAI_FAULT_BELOW");
    if (!wanted || !at || !below || strcmp(wanted, call) || strncmp(path, below, strlen(below))) return 0;
    if (atomic_fetch_add(&calls, 1) + 1 != atoi(at)) return 0;
    const char *told = getenv("XAI_FAULT_TOLD");
    if (told) close(open(told, O_CREAT | O_WRONLY, 0600));
    errno = ENOSPC;
    return 1;
}

static int due_for(const char *call, int file) {
    char link[64], path[PATH_MAX];
    if (!getenv("XAI_FAULT_CALL")) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return due(call, path);
}

static int due_at(const char *path) {
    char whole[PATH_MAX];
    if (!getenv("XAI_FAULT_CALL")) return 0;
    if (path[0] == '/') return due("rename", path);
    if (!getcwd(whole, sizeof whole) || strlen(whole) + strlen(path) + 2 > sizeof whole) return 0;
    strcat(strcat(whole, "/"), path);
    return due("rename", whole);
}

#define REAL(type, name) static type (*real)(); if (!real) real = (type (*)())dlsym(RTLD_NEXT, #name)

ssize_t write(int file, const void *bytes, size_t size) {
    REAL(ssize_t, write);
    return due_for("write", file) ? -1 : ((ssize_t (*)(int, const void *, size_t))real)(file, bytes, size);
}

ssize_t pwrite(int file, const void *bytes, size_t size, off_t at) {
    REAL(ssize_t, pwrite);
    return due_for("write", file) ? -1 : ((ssize_t (*)(int, const void *, size_t, off_t))real)(file, bytes, size, at);
}

ssize_t pwrite64(int file, const void *bytes, size_t size, off64_t at) {
    REAL(ssize_t, pwrite64);
    return due_for("write", file) ? -1 : ((ssize_t (*)(int, const void *, size_t, off64_t))real)(file, bytes, size, at);
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    REAL(ssize_t, writev);
    return due_for("write", file) ? -1 : ((ssize_t (*)(int, const struct iovec *, int))real)(file, parts, count);
}

size_t fwrite(const void *bytes, size_t size, size_t count, FILE *stream) {
    REAL(size_t, fwrite);
    return due_for("write", fileno(stream)) ? 0 : ((size_t (*)(const void *, size_t, size_t, FILE *))real)(bytes, size, count, stream);
}

int fsync(int file) {
    REAL(int, fsync);
    return due_for("fsync", file) ? -1 : ((int (*)(int))real)(file);
}

int fdatasync(int file) {
    REAL(int, fdatasync);
    return due_for("fsync", file) ? -1 : ((int (*)(int))real)(file);
}

int rename(const char *from, const char *to) {
    REAL(int, rename);
    return due_at(to) ? -1 : ((int (*)(const char *, const char *))real)(from, to);
}
