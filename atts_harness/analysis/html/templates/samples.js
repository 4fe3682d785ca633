// The browser of samples. A list of lines that are in the page as they are, and texts that are
// inflated when one is opened. Whatever a model wrote becomes a text node and nothing else.

const PER_PAGE = 50;
const field = Object.fromEntries(page.fields.map((name, place) => [name, place]));
const list = document.getElementById("sample-list");
const dialog = document.getElementById("sample");

const element = (tag, text, className) => {
  const made = document.createElement(tag);
  if (text !== undefined && text !== null) made.textContent = text;
  if (className) made.className = className;
  return made;
};

// A long text stands in pieces that are laid out when they come into view; together they are the
// text, letter for letter. A piece ends with a line where there is one.
const PIECE = 20_000;
const textBlock = (text) => {
  const block = element("pre");
  let start = 0;
  while (text.length - start > PIECE) {
    const line = text.lastIndexOf("\n", start + PIECE) + 1;
    const end = line > start ? line : start + PIECE;
    block.append(element("span", text.slice(start, end), "piece"));
    start = end;
  }
  if (start) block.append(element("span", text.slice(start), "piece"));
  else block.textContent = text;
  return block;
};

const inflate = async (block) => {
  const packed = atob(document.getElementById(`block-${block}`).textContent);
  const bytes = Uint8Array.from(packed, (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate-raw"));
  return JSON.parse(await new Response(stream).text());
};

const nameOf = (line) => `problem ${line[field.doc]}, repeat ${line[field.repeat]}`;
const labelOf = (line) => page.rows[line[field.row]].label;
const shownOr = (value, otherwise = "–") => (value === null || value === undefined || value === "" ? otherwise : value);
const number = (value, digits) => (value === null || value === undefined ? "–" : value.toFixed(digits));

const startSamples = () => {
  const bar = document.getElementById("sample-filters");
  const [rowSelect, verdictSelect] = bar.querySelectorAll("select");
  const several = new Set(Object.values(page.rows).map((row) => row.task)).size > 1;
  let found = page.lines;
  let first = 0;
  let opened = -1;
  let opener = null;
  let asked = 0;

  const addOptions = (select, pairs) => {
    for (const [value, text] of pairs) {
      const option = element("option", text);
      option.value = value;
      select.append(option);
    }
  };
  const present = (name) => [...new Set(page.lines.map((line) => line[field[name]]))];
  addOptions(rowSelect, present("row").map((id) => [id, several ? `${page.rows[id].label} · ${page.rows[id].task}` : page.rows[id].label]));
  addOptions(verdictSelect, present("verdict").map((verdict) => [verdict, verdict]));

  const cellOf = (line, name) => {
    if (name === "row") return labelOf(line);
    if (name === "seconds") return number(line[field.seconds], 2);
    return shownOr(line[field[name]]);
  };

  const showList = () => {
    const body = list.tBodies[0];
    const lines = found.slice(first, first + PER_PAGE).map((line, place) => {
      const row = element("tr");
      row.dataset.place = first + place;
      for (const heading of list.tHead.rows[0].cells) {
        const name = heading.dataset.field;
        const cell = element("td", null, heading.className);
        if (name === "doc") {
          const button = element("button", `${line[field.doc]}·${line[field.repeat]}`, "open");
          button.type = "button";
          button.setAttribute("aria-label", `Open ${nameOf(line)} of ${labelOf(line)}`);
          cell.append(button);
        } else if (name === "verdict") {
          cell.append(element("span", line[field.verdict], `verdict ${line[field.verdict].replace(" ", "-")}`));
          if (line[field.disagree]) cell.append(element("small", " extractors differ"));
        } else cell.textContent = cellOf(line, name);
        row.append(cell);
      }
      return row;
    });
    body.replaceChildren(...lines);
    const last = Math.min(found.length, first + PER_PAGE);
    document.getElementById("place").textContent = found.length ? `${first + 1}–${last} of ${found.length}` : "nothing matches";
    document.getElementById("sample-count").textContent = `${found.length} of ${page.lines.length} samples`;
    document.getElementById("earlier").disabled = first === 0;
    document.getElementById("later").disabled = last >= found.length;
  };

  const sorted = (lines) => {
    const heading = list.querySelector("th[aria-sort]");
    if (!heading) return lines;
    const name = heading.dataset.field;
    return ordered(lines, (line) => (name === "row" ? labelOf(line) : line[field[name]]), heading.ariaSort === "descending");
  };

  const search = () => {
    const words = document.getElementById("sample-words").value.trim().toLowerCase();
    const taken = document.getElementById("taken").checked;
    const disagree = document.getElementById("disagree").checked;
    found = sorted(
      page.lines.filter(
        (line) =>
          (!rowSelect.value || line[field.row] === rowSelect.value) &&
          (!verdictSelect.value || line[field.verdict] === verdictSelect.value) &&
          (!taken || line[field.takeovers] > 0) &&
          (!disagree || line[field.disagree]) &&
          (!words || String(line[field.doc]) === words || (line[field.answer] ?? "").toLowerCase().includes(words)),
      ),
    );
    first = 0;
    showList();
  };

  const facts = (pairs) => {
    const terms = element("dl");
    for (const [name, value] of pairs) {
      if (value === undefined || value === null) continue;
      terms.append(element("dt", name), element("dd", value));
    }
    return terms;
  };

  const decisionOf = ({ takeover, reason, score, p, threshold, bank }) => {
    const line = element("p", null, takeover ? "decision taken" : "decision");
    const parts = [];
    if (score !== null) parts.push(`score ${number(score, 3)}`);
    if (p !== null) parts.push(`p ${number(p, 3)} ${p <= threshold ? "≤" : ">"} ${number(threshold, 3)}`);
    if (bank) parts.push(`bank of ${bank}`);
    line.append(element("b", takeover ? "target takes over" : "draft stays"), ` (${[reason === "p-value" ? null : reason, ...parts].filter(Boolean).join(", ")})`);
    return line;
  };

  const segmentOf = (segment) => {
    const block = element("div", null, `segment ${segment.kept ? "" : "dropped"}`);
    block.dataset.author = segment.author;
    const words = [segment.author, segment.kind === segment.author ? null : segment.kind, `${segment.tokens} ${segment.tokens === 1 ? "token" : "tokens"}`, segment.kept ? null : "thrown away"];
    block.append(element("p", words.filter(Boolean).join(" · "), "author"), textBlock(segment.text));
    return block;
  };

  const bodyOf = (sample) => {
    const body = document.createDocumentFragment();
    body.append(element("h4", "Problem"), textBlock(shownOr(sample.problem, "The problem's text was not recorded: there is no sample log of lm-eval.")));
    const others = Object.entries(sample.answers ?? {}).map(([name, answer]) => `${name}: ${shownOr(answer, "none")}`);
    body.append(
      facts([
        ["answer", shownOr(sample.answer, "none")],
        ["gold", shownOr(sample.gold, "not recorded")],
        ["verdict", sample.error ? `${sample.verdict}: ${sample.error}` : sample.verdict],
        ["extractors", others.length ? others.join(" · ") : null],
        ["ended by", sample.finish ? sample.finish + (sample.truncated ? ", truncated" : "") : null],
        ...Object.entries(sample.notes ?? {}),
      ]),
    );
    if (sample.turns === undefined) {
      body.append(element("h4", "Text"), element("p", "No record of turns: the row was made without a run directory of this project.", "lack"), textBlock(shownOr(sample.text, "")));
      return body;
    }
    for (const turn of sample.turns) {
      const part = element("section", null, "turn");
      part.append(element("h4", `Turn ${turn.turn}`), ...(turn.decision ? [decisionOf(turn.decision)] : []), ...turn.segments.map(segmentOf));
      body.append(part);
    }
    return body;
  };

  const open = async (place) => {
    opened = place;
    asked += 1;
    const mine = asked;
    const line = found[place];
    document.getElementById("sample-title").textContent = `${labelOf(line)}: ${nameOf(line)}, ${line[field.verdict]}`;
    document.getElementById("before").disabled = place === 0;
    document.getElementById("after").disabled = place === found.length - 1;
    const elsewhere = document.getElementById("elsewhere");
    const same = (other) => other[field.doc] === line[field.doc] && other[field.repeat] === line[field.repeat] && page.rows[other[field.row]].task === page.rows[line[field.row]].task;
    elsewhere.replaceChildren();
    addOptions(elsewhere, page.lines.flatMap((other, index) => (same(other) ? [[index, `${labelOf(other)}: ${other[field.verdict]}`]] : [])));
    elsewhere.value = page.lines.indexOf(line);
    if (!dialog.open) dialog.showModal();
    const body = document.getElementById("sample-body");
    body.setAttribute("aria-busy", "true");
    const block = await inflate(line[field.block]);
    if (mine !== asked) return; // another sample was opened meanwhile
    body.replaceChildren(bodyOf(block[line[field.place]]));
    body.removeAttribute("aria-busy");
    body.scrollTop = 0;
  };

  const step = (by) => {
    const place = opened + by;
    if (opened >= 0 && place >= 0 && place < found.length) open(place);
  };

  list.tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr");
    if (!row) return;
    opener = row.querySelector("button");
    open(Number(row.dataset.place));
  });
  for (const button of list.querySelectorAll("button.sort")) {
    button.addEventListener("click", () => {
      nextOrder(button.closest("th"));
      search();
    });
  }
  document.getElementById("elsewhere").addEventListener("change", (event) => {
    const line = page.lines[Number(event.target.value)];
    if (!found.includes(line)) found = [...found, line];
    open(found.indexOf(line));
  });
  document.getElementById("before").addEventListener("click", () => step(-1));
  document.getElementById("after").addEventListener("click", () => step(1));
  document.getElementById("close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("keydown", (event) => {
    if (event.target.tagName === "SELECT") return;
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("close", () => {
    opened = -1;
    document.getElementById("sample-body").replaceChildren();
    opener?.focus();
  });
  document.getElementById("earlier").addEventListener("click", () => { first -= PER_PAGE; showList(); });
  document.getElementById("later").addEventListener("click", () => { first += PER_PAGE; showList(); });
  bar.addEventListener("input", search);
  bar.addEventListener("submit", (event) => event.preventDefault());
  bar.addEventListener("reset", () => setTimeout(search));
  showList();
};

if (list) startSamples();
