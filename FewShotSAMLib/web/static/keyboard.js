// Hands the keys of FewShotSAM to the server, with the view that the pointer is over.
// It listens before the views do, so that Slicer's own keys do not act a second time.
(() => {
  let view = "";
  const isTyping = (element) =>
    element && (element.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(element.tagName) && !/^(checkbox|range|color|button)$/.test(element.type));
  const viewOf = (element) => element?.closest?.(".layout-grid-item")?.querySelector("[data-view]")?.dataset.view;

  window.addEventListener("pointermove", (event) => { view = viewOf(event.target) || view; }, true);
  window.addEventListener("keydown", (event) => {
    if (isTyping(event.target) || event.altKey || !window.trame) return;
    const held = (event.ctrlKey || event.metaKey ? "ctrl+" : "") + (event.shiftKey && event.key.length > 1 || event.shiftKey && event.ctrlKey ? "shift+" : "");
    const chord = held + event.key.toLowerCase();
    const chords = window.trame.state.get("key_chords") || [];
    if (!chords.includes(chord)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    window.trame.trigger("key", [chord, view]);
  }, true);
})();
