// Two things that pages cannot do without a script: they refresh what is under way, and learn the browser's time zone.
"use strict";

(function () {
  function refresh(element) {
    const seconds = Number(element.dataset.refresh);
    setTimeout(async function () {
      let fresh = null;
      try {
        const response = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (response.redirected) { location.reload(); return; }
        if (response.ok) {
          const page = new DOMParser().parseFromString(await response.text(), "text/html");
          fresh = find(page, element);
        }
      } catch (error) {
        console.warn("not refreshed:", error);
      }
      // What somebody is using, or has written into, is not taken from under their hands.
      if (fresh && !isInUse(element)) {
        keepOpen(element, fresh);
        element.replaceChildren(...document.importNode(fresh, true).childNodes);
        if (fresh.dataset.refresh === undefined) { delete element.dataset.refresh; return; }
        element.dataset.refresh = fresh.dataset.refresh;
      }
      refresh(element);
    }, seconds * 1000);
  }

  function find(page, element) {
    if (element.id) { return page.getElementById(element.id); }
    return page.querySelector("main > [data-refresh]") || page.querySelector("main > div:not([class])");
  }

  function isInUse(element) {
    const active = document.activeElement;
    if (active && active !== element && element.contains(active) && active.matches("input, select, textarea, button")) {
      return true;
    }
    return Array.from(element.querySelectorAll("input[type=checkbox]")).some((box) => box.checked !== box.defaultChecked);
  }

  function keepOpen(before, after) {
    const old = before.querySelectorAll("details");
    after.querySelectorAll("details").forEach(function (each, place) {
      if (old[place]) { each.open = old[place].open; }
    });
  }

  document.querySelectorAll("[data-refresh]").forEach(refresh);

  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  if (/^[A-Za-z0-9_+/-]+$/.test(zone || "") && !document.cookie.includes("sendas_zone=")) {
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = "sendas_zone=" + zone + "; Path=/; SameSite=Lax; Max-Age=31536000" + secure;
    if (document.cookie.includes("sendas_zone=") && zone !== "UTC" && !document.querySelector("[role=alert]")) {
      location.reload();
    }
  }
})();
