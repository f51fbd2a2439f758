"use strict";
// Text reaches the page through textContent alone: file names and labels are other people's.

const data = JSON.parse(document.getElementById("data").textContent);
const state = { group: 0, metric: 0, method: -1, order: "worst", filter: "", hidden: new Set(), folded: false };
let thumbnailList = null;

function byId(id) {
  return document.getElementById(id);
}

/** An element with attributes; children are nodes or text. */
function element(name, attributes = {}, ...children) {
  return fill(document.createElement(name), attributes, children);
}

function svg(name, attributes = {}, ...children) {
  return fill(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
}

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
  node.append(...children.filter((child) => child !== null));
  return node;
}

function thumbnail(number) {
  thumbnailList ??= JSON.parse(byId("thumbnails").textContent);
  return thumbnailList[number];
}

/** The bytes that a base64 text stands for. */
function bytes(text) {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}

function group() {
  return data.groups[state.group];
}

/** A number for people: three significant places, nothing lost in large ones. */
function figure(value) {
  if (value === null) return "–";
  const size = Math.abs(value);
  return size >= 100 ? value.toFixed(0) : size >= 10 ? value.toFixed(1) : value.toFixed(3);
}

function colour(method) {
  return `m${method % 8}`;
}

function nameOf(path) {
  return path.split(/[\\/]/).pop() || path;
}
