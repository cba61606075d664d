// Loads the page again when the server says that something has changed, and says so when nobody answers.
// Without it everything can be read all the same.
"use strict";
(() => {
  const lost = document.getElementById("lost");
  let busy = false, again = false;
  async function renew() {
    if (busy) { again = true; return; }
    busy = true;
    try {
      const answer = await fetch(location.href, { cache: "no-store" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const open = [...document.querySelectorAll("details")].map((one) => one.open);
      for (const part of ["header", "main"]) {
        const next = page.querySelector(part), old = document.querySelector(part);
        if (next && old) old.replaceWith(document.adoptNode(next));
      }
      document.querySelectorAll("details").forEach((one, at) => { one.open = open[at] === true; });
      document.title = page.title;
      lost.hidden = true;
    } catch {
      lost.hidden = false;
    }
    busy = false;
    if (again) { again = false; renew(); }
  }
  const events = new EventSource("/events");
  events.addEventListener("change", renew);
  events.onopen = () => { if (!lost.hidden) renew(); };
  events.onerror = () => { lost.hidden = false; };
})();
