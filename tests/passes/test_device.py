import os

import pytest
import torch

from xaicli.errors import UsageError
from xaicli.passes import device as module
from xaicli.passes.device import (
    cpu_has_bf16,
    device_facts,
    has_bf16,
    masked_dtype,
    mkl_is_slow,
    quota,
    resolve_device,
    sensible_threads,
    threads,
)


@pytest.fixture
def no_accelerator(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: f"GPU {index}")
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda index: type("P", (), {"total_memory": 24 * 2**30}))
    monkeypatch.setattr(module, "has_bf16", lambda device: device.type == "cuda")


def test_auto_is_the_cpu_where_nothing_else_is_here(no_accelerator):
    assert resolve_device("auto") == torch.device("cpu")
    assert resolve_device() == torch.device("cpu")


def test_auto_is_the_gpu_where_there_is_one(two_gpus):
    assert resolve_device("auto") == torch.device("cuda")


def test_auto_is_mps_where_there_is_that_and_no_gpu(no_accelerator, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto") == torch.device("mps")


@pytest.mark.parametrize("given", ["cpu", "CPU", " cpu ", torch.device("cpu")])
def test_a_device_may_be_written_in_many_ways(given):
    assert resolve_device(given) == torch.device("cpu")


def test_a_gpu_has_an_index(two_gpus):
    assert resolve_device("cuda:1") == torch.device("cuda:1")
    with pytest.raises(UsageError, match=r"no device cuda:2; expected cuda:0 to cuda:1"):
        resolve_device("cuda:2")


@pytest.mark.parametrize("wanted", ["gpu", "cuda:", "cuda:x", "auto:1", "", "cuda:-1"])
def test_an_unknown_device_is_refused_with_those_that_can_be(wanted):
    with pytest.raises(UsageError, match="expected auto, cpu, cuda, cuda:INDEX or mps"):
        resolve_device(wanted)


@pytest.mark.parametrize("wanted", ["cuda", "cuda:0", "mps"])
def test_a_device_that_is_absent_is_refused_with_those_that_are_here(no_accelerator, wanted):
    with pytest.raises(UsageError, match=r"was asked for, but .* Here: cpu; leave out --device") as caught:
        resolve_device(wanted)
    assert caught.value.exit_code == 2


def test_a_build_without_cuda_is_said_to_be_that(no_accelerator, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(UsageError, match="this torch is a CPU-only build"):
        resolve_device("cuda")


def test_the_facts_name_every_device_the_cpu_last(two_gpus):
    facts = device_facts()
    assert [entry.device for entry in facts] == ["cuda:0", "cuda:1", "cpu"]
    assert facts[1].description == "GPU 1, 24 GiB"
    assert facts[1].bf16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nflags\t\t: fpu avx512f avx512_bf16 amx_tile\n", True),
        ("flags\t\t: fpu amx_bf16\n", True),
        ("Features\t: fp asimd bf16\n", True),
        ("flags\t\t: fpu avx2 avx512f f16c\n", False),
        ("model name\t: bf16 avx512_bf16\nflags\t: fpu\n", False),
        ("", False),
    ],
)
def test_bf16_in_hardware_is_read_off_the_processor_s_flags(tmp_path, monkeypatch, text, expected):
    (tmp_path / "cpuinfo").write_text(text)
    monkeypatch.setattr(module, "CPU_INFO", tmp_path / "cpuinfo")
    cpu_has_bf16.cache_clear()
    try:
        assert has_bf16(torch.device("cpu")) is expected
    finally:
        cpu_has_bf16.cache_clear()


@pytest.mark.parametrize(
    ("vendor", "capability", "expected"),
    [("AuthenticAMD", "AVX512", True), ("AuthenticAMD", "AVX2", False), ("GenuineIntel", "AVX512", False)],
)
def test_mkl_is_slow_on_amd_s_processors_with_avx_512(tmp_path, monkeypatch, vendor, capability, expected):
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nvendor_id\t: {vendor}\nflags\t: fpu\n")
    monkeypatch.setattr(module, "CPU_INFO", tmp_path / "cpuinfo")
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    for library in (torch.backends.mkl, torch.backends.mkldnn):
        monkeypatch.setattr(library, "is_available", lambda: True)
    mkl_is_slow.cache_clear()
    try:
        assert mkl_is_slow() is expected
    finally:
        mkl_is_slow.cache_clear()


def test_without_a_list_of_flags_there_is_no_bf16(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CPU_INFO", tmp_path / "absent")
    cpu_has_bf16.cache_clear()
    try:
        assert not has_bf16(torch.device("cpu"))
    finally:
        cpu_has_bf16.cache_clear()


@pytest.mark.parametrize(
    ("precision", "hardware", "expected"),
    [
        ("auto", True, torch.bfloat16),
        ("auto", False, torch.float32),
        ("bf16", False, torch.bfloat16),
        ("bf16", True, torch.bfloat16),
        ("fp32", True, torch.float32),
    ],
)
def test_masked_passes_run_in_bf16_where_wanted_or_where_the_hardware_has_it(monkeypatch, precision, hardware, expected):
    monkeypatch.setattr(module, "has_bf16", lambda device: hardware)
    assert masked_dtype(precision, torch.device("cpu")) == expected


def test_an_unknown_precision_is_refused():
    with pytest.raises(UsageError, match='no precision "fp16"; expected auto, fp32, bf16'):
        masked_dtype("fp16", torch.device("cpu"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [("200000 100000\n", 2), ("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 2**31), ("", 2**31)],
)
def test_a_container_s_limit_is_rounded_up(tmp_path, text, expected):
    (tmp_path / "cpu.max").write_text(text)
    assert quota(tmp_path / "cpu.max") == expected


def test_without_a_container_there_is_no_limit(tmp_path):
    assert quota(tmp_path / "absent") == 2**31


def test_threads_are_no_more_than_the_container_grants(tmp_path, monkeypatch):
    (tmp_path / "cpu.max").write_text("100000 100000")
    monkeypatch.setattr(module, "CPU_MAX", tmp_path / "cpu.max")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert sensible_threads() == 1


def test_threads_are_no_more_than_the_process_may_run_on(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "CPU_MAX", tmp_path / "absent")
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 2, 5}, raising=False)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    assert sensible_threads() == 3


def test_the_user_s_own_number_of_threads_stands(monkeypatch, tmp_path):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    assert sensible_threads() == 64


def test_the_number_of_threads_is_restored_after_an_exception():
    before = torch.get_num_threads()
    inside = []

    def fail():
        with threads(before + 1) as count:
            inside.append((count, torch.get_num_threads()))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside == [(before + 1, before + 1)]
    assert torch.get_num_threads() == before
