// A problem is asked, and its sample arrives turn by turn.

import { byId, counted, digits, element, fail, option } from "./dom.js";
import { addEvent, emptySample, settle, show, showLast } from "./turns.js";

let models = [];
let running = null;

const chosen = () => models.find((model) => model.id === byId("model").value);
const headers = () => {
  const key = byId("key").value;
  return { "Content-Type": "application/json", ...(key ? { Authorization: `Bearer ${key}` } : {}) };
};

const showRate = () => {
  byId("rate-shown").textContent = Number(byId("rate").value).toFixed(2);
};

const showModel = () => {
  const rate = chosen()?.atts.options.rate;
  byId("rate-field").hidden = typeof rate !== "number";
  if (typeof rate === "number") byId("rate").value = rate;
  showRate();
};

const loadModels = async () => {
  const reply = await fetch("/v1/models", { headers: headers() });
  if (reply.status === 401) {
    byId("status").textContent = "This server asks for a key.";
    return;
  }
  models = (await reply.json()).data;
  const before = byId("model").value;
  byId("model").replaceChildren(...models.map((model) => option(model.id, model.id)));
  if (models.some((model) => model.id === before)) byId("model").value = before;
  showModel();
  byId("status").textContent = "";
};

const bodyOf = () => {
  const model = chosen();
  const atts = { events: true };
  const rate = Number(byId("rate").value);
  if (!byId("rate-field").hidden && rate !== model.atts.options.rate) atts.rate = rate;
  const body = {
    model: model.id,
    messages: [{ role: "user", content: byId("problem").value }],
    max_tokens: Number(byId("most").value),
    stream: true,
    atts,
  };
  if (byId("seed").value) body.seed = Number(byId("seed").value);
  return body;
};

// The events of a stream, as JSON.
async function* eventsOf(reply) {
  const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks)
      if (block.startsWith("data: ") && block !== "data: [DONE]") yield JSON.parse(block.slice(6));
  }
}

const said = (event) => {
  if (event.type === "decision") return event.takeover ? "the target takes over" : "the draft stays";
  if (event.kind === "score") return "the target has scored the draft";
  return `the ${event.author} has written`;
};

const watch = async (signal) => {
  const sample = emptySample();
  const began = performance.now();
  const body = bodyOf();
  const replaces = chosen().atts.options.on_reject === "replace";
  show(sample);
  byId("problem-shown").textContent = byId("problem").value;
  byId("problem-shown").hidden = false;
  byId("status").textContent = "Asked.";
  const reply = await fetch("/v1/chat/completions", { method: "POST", headers: headers(), body: JSON.stringify(body), signal });
  if (!reply.ok) throw new Error((await reply.json()).error.message);
  for await (const part of eventsOf(reply)) {
    if (part.error) throw new Error(part.error.message);
    const atts = part.choices[0]?.atts;
    if (!atts) continue;
    if (atts.event) {
      addEvent(sample, atts.event, replaces);
      showLast(sample);
      const seconds = digits((performance.now() - began) / 1000, 1);
      byId("status").textContent = `Turn ${atts.event.turn}: ${said(atts.event)} · ${seconds} s`;
    } else {
      settle(sample, atts);
      show(sample);
      byId("status").textContent = `Finished after ${counted(sample.turns.length, "turn")} (${atts.finish}) · ${digits(atts.seconds, 2)} s`;
    }
  }
};

const start = async (event) => {
  event.preventDefault();
  fail();
  if (!models.length) await loadModels();
  if (!models.length) return;
  running = new AbortController();
  byId("start").disabled = true;
  byId("stop").disabled = false;
  byId("turns").ariaBusy = "true";
  try {
    await watch(running.signal);
  } catch (error) {
    if (error.name === "AbortError") byId("status").textContent = "Stopped: the engines are free again.";
    else {
      byId("status").textContent = "";
      fail(error.message);
    }
  } finally {
    byId("turns").ariaBusy = "false";
    byId("start").disabled = false;
    byId("stop").disabled = true;
  }
};

export const startLive = async (about) => {
  byId("ask").hidden = false;
  byId("key-field").hidden = !about.key;
  byId("pick-field").hidden = !about.problems.length;
  byId("pick").append(...about.problems.map((problem, place) => option(String(place), problem.slice(0, 90))));
  byId("pick").addEventListener("change", () => {
    const place = byId("pick").value;
    if (place !== "") byId("problem").value = about.problems[Number(place)];
  });
  byId("model").addEventListener("change", showModel);
  byId("rate").addEventListener("input", showRate);
  byId("key").addEventListener("change", () => loadModels().catch((error) => fail(error.message)));
  byId("form").addEventListener("submit", start);
  byId("stop").addEventListener("click", () => running?.abort());
  byId("turns").append(element("li", "Nothing was asked yet.", "note"));
  if (!about.key) await loadModels();
};
