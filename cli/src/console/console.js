// What the pages do without being loaded again: new events, and keys. All of them work without it, too.
"use strict";

// Rows are markup that the server has escaped. No script in one would run: the policy allows files of the console only.
const MOST_ROWS = 500;

function rowOf(markup) {
    const template = document.createElement("template");
    template.innerHTML = markup;
    return template.content.querySelector("li");
}

// Puts a row in its place, the newest first, or replaces the one that is there.
function put(list, row) {
    const known = document.getElementById(row.id);
    if (known && known.parentNode === list) {
        const focused = known.contains(document.activeElement);
        known.replaceWith(row);
        if (focused) row.querySelector("a.open").focus();
        return;
    }
    row.classList.add("new");
    const earlier = Array.from(list.children).find((other) => other.dataset.time <= row.dataset.time);
    list.insertBefore(row, earlier || null);
    if (list.children.length > MOST_ROWS) list.lastElementChild.remove();
    const nothing = document.getElementById("nothing");
    if (nothing) nothing.remove();
}

function live(list) {
    const state = document.getElementById("live-state");
    const source = new EventSource(list.dataset.live);
    let wasLost = false;
    source.addEventListener("open", () => {
        // What came meanwhile may be more than what is told again.
        if (wasLost) location.reload();
        state.textContent = "Live: new events appear at the top.";
    });
    source.addEventListener("error", () => {
        wasLost = true;
        state.textContent = "Not live: the console does not answer. Is it still running?";
    });
    source.addEventListener("failed", () => {
        state.textContent = "Not live: AWS does not answer. Trying again.";
    });
    source.addEventListener("reload", () => location.reload());
    source.addEventListener("row", (event) => {
        state.textContent = "Live: new events appear at the top.";
        put(list, rowOf(event.data));
    });
    addEventListener("pagehide", () => source.close());
}

function move(step) {
    const links = Array.from(document.querySelectorAll("a.open"));
    const at = links.findIndex((link) => link.closest("li").contains(document.activeElement));
    const next = links[at < 0 ? 0 : Math.min(Math.max(at + step, 0), links.length - 1)];
    if (next) next.focus();
}

addEventListener("keydown", (event) => {
    const isTyped = event.target.closest("input, select, textarea");
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape" && isTyped) event.target.blur();
    if (isTyped) return;
    const filter = document.getElementById("subject");
    if (event.key === "j") move(1);
    else if (event.key === "k") move(-1);
    else if (event.key === "/" && filter) {
        event.preventDefault();
        filter.focus();
    }
});

const list = document.querySelector("[data-live]");
if (list) live(list);
