import "./theme.js";
import { byId, fail } from "./dom.js";
import { startLive } from "./live.js";
import { startRecorded } from "./recorded.js";

try {
  const about = await (await fetch("/page/about.json")).json();
  byId("about").textContent = about.words;
  await (about.live ? startLive(about) : startRecorded());
} catch (error) {
  fail(error.message);
}
