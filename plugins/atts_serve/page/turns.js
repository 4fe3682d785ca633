// A sample's turns: who wrote what, how it was scored, what was decided, what was thrown away.

import { byId, counted, digits, drawn, element } from "./dom.js";

const AUTHORS = { draft: "the draft", target: "the target", strategy: "the strategy" };

export const emptySample = () => ({ turns: [], tokens: null, seconds: null, finish: null });

const turnOf = (sample, number) => {
  let turn = sample.turns.find((known) => known.turn === number);
  if (!turn) {
    turn = { turn: number, segments: [], calls: [] };
    sample.turns.push(turn);
    sample.turns.sort((one, other) => one.turn - other.turn);
  }
  return turn;
};

// A call or a decision while the sample is written. `replaces` says whether a takeover puts the
// target's text in the place of the draft's; what was really kept is said when the sample ends.
export const addEvent = (sample, event, replaces) => {
  const turn = turnOf(sample, event.turn);
  if (event.type === "decision") {
    Object.assign(turn, event);
    if (event.takeover && replaces)
      for (const segment of turn.segments) if (segment.author === "draft") segment.kept = false;
    return;
  }
  turn.calls.push(event);
  if (event.kind === "score") turn.score = event.score;
  else if (event.text)
    turn.segments.push({ author: event.author, kind: event.kind, text: event.text, tokens: event.tokens, kept: event.kind !== "judge" });
};

// What is recorded of the whole sample takes the place of what was told on the way.
export const settle = (sample, facts) => {
  const calls = new Map(sample.turns.map((turn) => [turn.turn, turn.calls]));
  sample.turns = facts.turns.map((turn) => ({ ...turn, calls: turn.calls ?? calls.get(turn.turn) ?? [] }));
  sample.tokens = facts.tokens;
  sample.seconds = facts.seconds;
  sample.finish = facts.finish;
};

const strip = (p, threshold) => {
  const shown = drawn("svg", { viewBox: "0 0 112 12", "aria-hidden": "true", focusable: "false" });
  const at = (share) => 4 + 104 * Math.min(1, Math.max(0, share));
  shown.append(drawn("path", { class: "all", d: "M4 6H108" }));
  if (threshold > 0) shown.append(drawn("path", { class: "zone", d: `M4 6H${at(threshold)}` }));
  shown.append(drawn("circle", { cx: at(p), cy: 6, r: 4 }));
  return shown;
};

const REASONS = {
  "score-failed": "the score failed",
  "empty-draft": "the draft was empty",
};

const decisionOf = (turn) => {
  const line = element("p", null, turn.takeover ? "decision taken" : "decision");
  const said = turn.takeover ? "the target takes over" : "the draft stays";
  if (typeof turn.p_value === "number") {
    const sign = turn.p_value <= turn.threshold ? "≤" : ">";
    const rank = element("span", null, "rank");
    const words = element("span");
    words.append(
      `score ${digits(turn.score, 3)} · p ${digits(turn.p_value, 3)} ${sign} ${digits(turn.threshold, 3)} against the bank “${turn.bank}” (${counted(turn.bank_size, "score")}): `,
      element("b", said),
    );
    rank.append(strip(turn.p_value, turn.threshold), words);
    line.append(rank);
  } else {
    const why = REASONS[turn.reason] ?? (typeof turn.score === "number" ? `score ${digits(turn.score, 3)}` : "by the strategy's rule");
    line.append(`${why}: `, element("b", said));
  }
  return line;
};

const segmentOf = (segment) => {
  const block = element("div", null, segment.kept ? "segment" : "segment dropped");
  block.dataset.author = segment.author;
  const kept = segment.kept ? "" : " · thrown away";
  const kind = segment.kind === segment.author ? "" : ` · ${segment.kind}`;
  block.append(
    element("div", `${AUTHORS[segment.author] ?? segment.author}${kind} · ${counted(segment.tokens, "token")}${kept}`, "author"),
    element("pre", segment.text),
  );
  return block;
};

const shownTurn = (turn) => {
  const item = element("li", null, "turn");
  const heading = element("h3", `Turn ${turn.turn}`);
  const seconds = turn.calls.reduce((sum, call) => sum + (call.seconds ?? 0), 0);
  if (turn.calls.length) heading.append(element("small", `${digits(seconds, 2)} s in ${counted(turn.calls.length, "call")}`));
  item.append(heading);
  const decided = turn.takeover !== undefined;
  let told = !decided;
  for (const segment of turn.segments) {
    if (!told && segment.author !== "draft") {
      item.append(decisionOf(turn));
      told = true;
    }
    item.append(segmentOf(segment));
  }
  if (!told) item.append(decisionOf(turn));
  return item;
};

const totalsOf = (sample) => {
  const segments = sample.turns.flatMap((turn) => turn.segments);
  const sum = (chosen) => segments.filter(chosen).reduce((total, segment) => total + segment.tokens, 0);
  const decided = sample.turns.filter((turn) => turn.takeover !== undefined);
  const pairs = [
    ["turns", sample.turns.length],
    ["takeovers", `${decided.filter((turn) => turn.takeover).length} of ${decided.length}`],
    ["draft kept", sum((s) => s.author === "draft" && s.kept)],
    ["target kept", sum((s) => s.author === "target" && s.kept)],
    ["thrown away", sum((s) => !s.kept)],
  ];
  if (sample.tokens?.target) pairs.push(["target computed", sample.tokens.target.computed]);
  if (sample.seconds !== null) pairs.push(["seconds", digits(sample.seconds, 2)]);
  return pairs;
};

const showTotals = (sample) => {
  const totals = byId("totals");
  totals.hidden = !sample.turns.length;
  totals.replaceChildren(
    ...totalsOf(sample).map(([name, value]) => {
      const pair = element("div");
      pair.append(element("dt", name), element("dd", value));
      return pair;
    }),
  );
};

export const show = (sample) => {
  byId("turns").replaceChildren(...sample.turns.map(shownTurn));
  showTotals(sample);
};

// While a sample is written its last turn alone is drawn anew: what stands stays where it is.
export const showLast = (sample) => {
  const list = byId("turns");
  const count = sample.turns.length;
  if (!count || list.children.length < count - 1 || list.children.length > count) {
    show(sample);
    return;
  }
  const item = shownTurn(sample.turns[count - 1]);
  if (list.children.length === count) list.lastElementChild.replaceWith(item);
  else list.append(item);
  showTotals(sample);
};
