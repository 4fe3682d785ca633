// One run at a time; without scripts all of them are there, one below the other.

const chosenRun = document.getElementById("run");
const runs = [...document.querySelectorAll(".run")];
const showRun = () => {
  for (const run of runs) run.hidden = run.dataset.run !== chosenRun.value;
};
const audited = runs.find((run) => "audited" in run.dataset);
if (audited) chosenRun.value = audited.dataset.run;
chosenRun.addEventListener("change", showRun);
chosenRun.form.addEventListener("submit", (event) => event.preventDefault());
showRun();
