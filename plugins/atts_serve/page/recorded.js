// The samples of a run directory, of a run that is finished or that is going.

import { byId, digits, element, fail, option } from "./dom.js";
import { emptySample, settle, show } from "./turns.js";

const PER_PAGE = 25;
const AGAIN_MS = 2000;
let lines = [];
let found = [];
let first = 0;
let open = null;
let runs = [];

const get = async (path) => {
  const reply = await fetch(path);
  const body = await reply.json();
  if (!reply.ok) throw new Error(body.error.message);
  return body;
};
const runOf = () => byId("run").value;
const nameOf = (line) => `${line.task} ${line.doc}·${line.repeat}`;

const rowOf = (line) => {
  const row = element("tr");
  if (open && open.name === nameOf(line)) row.setAttribute("aria-current", "true");
  const heading = element("th");
  heading.scope = "row";
  const button = element("button", nameOf(line), "open");
  button.type = "button";
  button.addEventListener("click", () => openSample(line, true).catch((error) => fail(error.message)));
  heading.append(button);
  const cells = [line.finish ?? "not finished", line.turns, `${line.takeovers} of ${line.judged}`, line.draft, line.target, line.computed, digits(line.seconds, 2)];
  row.append(heading, ...cells.map((value, place) => element("td", value ?? "–", place ? "n" : "")));
  return row;
};

const showList = () => {
  const last = Math.min(found.length, first + PER_PAGE);
  byId("samples").tBodies[0].replaceChildren(...found.slice(first, last).map(rowOf));
  byId("place").textContent = found.length ? `${first + 1}–${last} of ${found.length}` : "nothing matches";
  byId("count").textContent = `${found.length} of ${lines.length} samples`;
  byId("earlier").disabled = first === 0;
  byId("later").disabled = last >= found.length;
};

const filter = () => {
  const words = byId("words").value.trim();
  found = lines.filter(
    (line) =>
      (!byId("task").value || line.task === byId("task").value) &&
      (!words || String(line.doc) === words) &&
      (!byId("taken").checked || line.takeovers > 0),
  );
  first = Math.min(first, Math.max(0, Math.floor((found.length - 1) / PER_PAGE) * PER_PAGE));
  showList();
};

const showTasks = () => {
  const tasks = [...new Set(lines.map((line) => line.task))];
  const select = byId("task");
  if (select.options.length === tasks.length + 1) return;
  const before = select.value;
  select.replaceChildren(option("", "all"), ...tasks.map((task) => option(task, task)));
  select.value = tasks.includes(before) ? before : "";
};

const load = async () => {
  const told = await get(`/recorded/samples?run=${encodeURIComponent(runOf())}`);
  lines = told.samples;
  byId("about").textContent = told.about;
  showTasks();
  filter();
  return told.going;
};

const openSample = async (line, scroll) => {
  fail();
  const place = new URLSearchParams({ run: runOf(), task: line.task, doc: line.doc, repeat: line.repeat });
  const facts = await get(`/recorded/sample?${place}`);
  const sample = emptySample();
  settle(sample, facts);
  show(sample);
  open = { name: nameOf(line), line };
  byId("status").textContent = facts.finish ? `${nameOf(line)} · ${facts.strategy} · ended by ${facts.finish}` : `${nameOf(line)} · not finished: its texts are there when it is`;
  showList();
  if (scroll) byId("watch").focus();
};

const again = async () => {
  try {
    const going = await load();
    if (open) {
      const line = lines.find((known) => nameOf(known) === open.name);
      if (line && line.finish !== open.line.finish) await openSample(line, false);
    }
    if (going) setTimeout(again, AGAIN_MS);
  } catch (error) {
    fail(error.message);
  }
};

export const startRecorded = async () => {
  byId("recorded").hidden = false;
  runs = (await get("/recorded/runs")).runs;
  byId("run").append(...runs.map((run) => option(run, run || "this one")));
  byId("run-field").hidden = runs.length < 2;
  byId("run").addEventListener("change", () => {
    first = 0;
    open = null;
    again();
  });
  for (const id of ["task", "words", "taken"]) byId(id).addEventListener("input", filter);
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
  byId("earlier").addEventListener("click", () => {
    first -= PER_PAGE;
    showList();
  });
  byId("later").addEventListener("click", () => {
    first += PER_PAGE;
    showList();
  });
  byId("turns").append(element("li", "Open a sample to see its turns.", "note"));
  await again();
};
