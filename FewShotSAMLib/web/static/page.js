// What the page does in addition to showing the server's state: keys, and reconnecting after a lost connection.

// Sends keys to the server, with the view that the pointer is over. It listens before the views do, so that Slicer's
// own keys do not act as well.
(() => {
  let view = "";
  const noText = /^(checkbox|range|color|button)$/;
  const isTyping = (element) =>
    element?.isContentEditable || (/^(INPUT|TEXTAREA|SELECT)$/.test(element?.tagName) && !noText.test(element.type));
  const viewOf = (element) => element?.closest?.(".layout-grid-item")?.querySelector("[data-view]")?.dataset.view;

  window.addEventListener("pointermove", (event) => { view = viewOf(event.target) || view; }, true);
  window.addEventListener("keydown", (event) => {
    if (isTyping(event.target) || event.altKey || !window.trame) return;
    const isControl = event.ctrlKey || event.metaKey;
    const chord = (isControl ? "ctrl+" : "") + (isControl && event.shiftKey ? "shift+" : "") + event.key.toLowerCase();
    if (!(window.trame.state.get("key_chords") || []).includes(chord)) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    window.trame.trigger("key", [chord, view]);
  }, true);
})();

// The server holds all work, so after a lost connection the page is simply reloaded.
(() => {
  let isLost = false;
  const again = async () => {
    try {
      const answer = await fetch("index.html", { cache: "no-store" });
      if (answer.ok || answer.status === 401) return location.reload();
    } catch { /* the server is not back yet */ }
    setTimeout(again, 1500);
  };
  const lost = () => {
    if (isLost) return;
    isLost = true;
    const note = document.createElement("div");
    note.className = "lost";
    note.textContent = "The connection to the server is lost. Your work is kept; waiting to reconnect …";
    document.body.append(note);
    setTimeout(again, 500);
  };
  window.trame?.client?.onConnectionClose?.(lost);
})();
