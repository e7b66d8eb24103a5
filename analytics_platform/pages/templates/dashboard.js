// What the mark under the pointer stands for; all else on the page is there without a script.
const said = document.getElementById("said");
document.addEventListener("pointermove", event => {
  const mark = event.target.closest("figure svg path[aria-label], figure svg text[aria-label]");
  said.hidden = !mark;
  if (!mark) return;
  said.textContent = mark.getAttribute("aria-label");
  said.style.left = Math.max(0, Math.min(event.clientX + 14, innerWidth - said.offsetWidth - 4)) + "px";
  said.style.top = Math.max(0, event.clientY - said.offsetHeight - 10) + "px";
});
