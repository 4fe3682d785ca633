// A table that is wider than its place says that it scrolls.
const scrolled = [...document.querySelectorAll(".scroll")];
function tellScrolling() {
  for (const box of scrolled) {
    const more = box.scrollWidth > box.clientWidth + 1;
    let hint = box.previousElementSibling;
    if (!hint || !hint.classList.contains("hint")) {
      if (!more) continue;
      hint = document.createElement("p");
      hint.className = "hint";
      hint.textContent = "Wider than the page: scroll sideways \u2192";
      box.before(hint);
    }
    hint.hidden = !more;
  }
}
new ResizeObserver(tellScrolling).observe(document.body);
document.addEventListener("toggle", tellScrolling, true);
