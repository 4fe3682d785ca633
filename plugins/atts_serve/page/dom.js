// Elements made of data. Whatever a model wrote becomes a text node and nothing else.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

export const element = (tag, text, className) => {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
};

export const drawn = (tag, attributes) => {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
};

export const option = (value, text) => {
  const made = element("option", text);
  made.value = value;
  return made;
};

export const digits = (value, count) =>
  typeof value === "number" ? value.toFixed(count) : value === null || value === undefined ? "–" : String(value);

export const counted = (count, one, several = `${one}s`) => `${count} ${count === 1 ? one : several}`;

export const fail = (words) => {
  const shown = byId("error");
  shown.textContent = words ?? "";
  shown.hidden = !words;
};
