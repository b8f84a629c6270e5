// SPDX-License-Identifier: Apache-2.0
// A log on the page of a job: follows what is written, shows lines that were left out, finds a line by its link.
// Without it the page has the beginning and the end of the log, and links to every stretch in between.

const MORE = 1000; // lines that one request may ask for
const AROUND = 100; // lines shown before one that is linked
const MOST = 8000; // lines on a page that follows a log; then the oldest of them are left out ...
const KEPT = 5000; // ... until so many are left

const part = document.getElementById("log-part");
let view = null;

class LogView {
  constructor(box) {
    this.box = box;
    this.lines = box.querySelector(".lines");
    this.button = part.querySelector(".log-follow");
    this.state = part.querySelector(".log-state");
    this.count = part.querySelector(".log-count");
    this.last = this.numberOf(this.lines.lastElementChild);
    this.unseen = 0;
    this.place = box.dataset.follow; // undefined when nothing more comes
    box.addEventListener("click", (event) => this.more(event));
    box.addEventListener("scroll", () => this.isAtEnd() && this.seen(), { passive: true });
    this.button.addEventListener("click", () => this.follow());
    this.connect();
  }

  numberOf(line) {
    return line ? Number(line.id.slice(1)) : 0;
  }

  // The box is reversed: 0 is its end.
  isAtEnd() {
    return this.box.scrollTop > -4;
  }

  follow() {
    this.box.scrollTop = 0;
    this.box.focus();
    this.seen();
  }

  seen() {
    this.unseen = 0;
    this.button.hidden = true;
  }

  connect() {
    if (this.place === undefined || this.source || document.hidden) return;
    const source = (this.source = new EventSource(`${this.address("/live")}&offset=${parseInt(this.place)}`));
    source.onopen = () => this.say("Live");
    source.onmessage = (event) => this.grow(JSON.parse(event.data), event.lastEventId);
    source.addEventListener("end", (event) => this.end(JSON.parse(event.data)));
    source.onerror = () => {
      this.say("The farm is away for a moment");
      if (source.readyState !== EventSource.CLOSED) return; // the browser tries again
      this.disconnect();
      setTimeout(() => this.connect(), 5000);
    };
  }

  // A browser has six connections to one server: a page that nobody sees gives its own back.
  disconnect() {
    this.source?.close();
    this.source = null;
  }

  close() {
    this.place = undefined;
    this.disconnect();
  }

  address(name) {
    return `${this.box.dataset.api}${name}?attempt=${this.box.dataset.attempt}`;
  }

  say(text) {
    if (this.state.textContent !== text) this.state.textContent = text;
  }

  grow({ skipped, lines }, place) {
    this.place = place;
    const isAtEnd = this.isAtEnd();
    const before = this.last;
    const last = this.lines.lastElementChild; // may be replaced, since it had not ended
    this.hold(last?.previousElementSibling, isAtEnd, () => {
      if (skipped) this.skip(skipped);
      if (lines.length && lines[0][0] === this.last) last.remove();
      this.lines.insertAdjacentHTML("beforeend", html(lines));
      if (lines.length) this.last = lines.at(-1)[0];
      if (isAtEnd) this.shorten();
    });
    this.count.textContent = this.last.toLocaleString("en");
    if (isAtEnd) return;
    this.unseen += this.last - before;
    this.button.textContent = `${this.unseen.toLocaleString("en")} new line${this.unseen === 1 ? "" : "s"} · follow`;
    this.button.hidden = !this.unseen;
  }

  end({ is_done }) {
    this.close();
    this.say(is_done ? "It has ended" : "This attempt has ended; the job is tried again");
    // The page shows the next attempt by itself, unless someone is reading this one.
    if (!is_done && this.isAtEnd()) part.setAttribute("data-live", "");
  }

  skip([first, last]) {
    if (this.last >= first) this.lines.lastElementChild.remove(); // it had not ended yet
    this.lines.append(makeGap(this, first, last));
    this.last = last;
  }

  // Leaves out the oldest lines behind the last gap.
  shorten() {
    const excess = this.lines.childElementCount - MOST;
    if (excess <= 0) return;
    let gap = [...this.lines.querySelectorAll(".gap")].at(-1);
    if (!gap) {
      const line = this.lines.children[MORE];
      gap = makeGap(this, this.numberOf(line), this.numberOf(line));
      line.replaceWith(gap);
    }
    for (let left = excess + MOST - KEPT; left > 0 && gap.nextElementSibling; left--) {
      gap.dataset.last = this.numberOf(gap.nextElementSibling);
      gap.nextElementSibling.remove();
    }
    fillGap(this, gap);
  }

  // Changes the lines and keeps `line` where it is on the screen.
  hold(line, isAtEnd, change) {
    const top = line?.getBoundingClientRect().top;
    change();
    if (isAtEnd) this.box.scrollTop = 0;
    else if (line?.isConnected) this.box.scrollTop += line.getBoundingClientRect().top - top;
  }

  more(event) {
    const link = event.target.closest("[data-more]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const gap = link.closest(".gap");
    const [first, last] = [Number(gap.dataset.first), Number(gap.dataset.last)];
    if (link.dataset.more === "below") this.fill(gap, first, Math.min(last, first + MORE - 1), gap.previousElementSibling);
    else this.fill(gap, Math.max(first, last - MORE + 1), last, gap.nextElementSibling);
  }

  // Shows the lines from `first` to `last` in place of a part of a gap; `line` stays where it is.
  async fill(gap, first, last, line) {
    const lines = [];
    try {
      for (let next = first; next <= last; ) {
        const answer = await fetch(`${this.address("/lines")}&from=${next}&count=${last - next + 1}`);
        if (!answer.ok) throw new Error((await answer.json()).error);
        const found = await answer.json();
        if (found.next <= next) break;
        lines.push(...found.lines);
        next = found.next;
      }
    } catch (error) {
      this.say(`The lines did not come: ${error.message}`);
      return;
    }
    if (!gap.isConnected || !lines.length) return;
    const behind = Number(gap.dataset.last);
    this.hold(line, false, () => {
      gap.insertAdjacentHTML("afterend", html(lines));
      const after = lines.at(-1)[0] + 1;
      if (after <= behind) document.getElementById(`L${after - 1}`).after(makeGap(this, after, behind));
      gap.dataset.last = first - 1;
      if (first <= Number(gap.dataset.first)) gap.remove();
      else fillGap(this, gap);
    });
  }

  async show(number) {
    const gap = [...this.lines.querySelectorAll(".gap")].find(
      (item) => Number(item.dataset.first) <= number && number <= Number(item.dataset.last),
    );
    if (gap) {
      const first = Math.max(Number(gap.dataset.first), number - AROUND);
      await this.fill(gap, first, Math.min(Number(gap.dataset.last), number + 2 * AROUND), null);
    }
    const line = document.getElementById(`L${number}`);
    this.lines.querySelector(".linked")?.classList.remove("linked");
    line?.classList.add("linked");
    line?.scrollIntoView({ block: "center" });
  }
}

function html(lines) {
  return lines
    .map(([number, text]) => `<div class="line" id="L${number}"><a href="#L${number}">${number}</a><span>${text}</span></div>`)
    .join("\n");
}

function makeGap(log, first, last) {
  const gap = document.getElementById("log-gap").content.firstElementChild.cloneNode(true);
  Object.assign(gap.dataset, { first, last });
  fillGap(log, gap);
  return gap;
}

function fillGap(log, gap) {
  const [first, last] = [Number(gap.dataset.first), Number(gap.dataset.last)];
  const [below, above] = gap.querySelectorAll("a");
  const from = Math.max(first, last - MORE + 1);
  gap.querySelector("b").textContent = `${first.toLocaleString("en")}–${last.toLocaleString("en")}`;
  below.href = `?attempt=${log.box.dataset.attempt}&from=${first}#L${first}`;
  above.href = `?attempt=${log.box.dataset.attempt}&from=${from}#L${from}`;
  above.textContent = `the lines before ${(last + 1).toLocaleString("en")}`;
}

function open() {
  const box = part.querySelector(".log");
  if (view?.box === box) return;
  view?.close();
  view = box ? new LogView(box) : null;
  find();
}

function find() {
  const match = /^#L(\d{1,15})$/.exec(location.hash);
  if (match) view?.show(Number(match[1]));
}

open();
new MutationObserver(open).observe(part, { childList: true });
addEventListener("hashchange", find);
document.addEventListener("visibilitychange", () => (document.hidden ? view?.disconnect() : view?.connect()));
