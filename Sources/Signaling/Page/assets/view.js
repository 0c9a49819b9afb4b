// What the pages share that move files by a code: words, the list of files, progress.

export const $ = id => document.getElementById(id);
const SHOWN = 500, DRAWING = 250, SAYING = 10000, RATE_SPAN = 5000;

// --- words -------------------------------------------------------------------------
const number = new Intl.NumberFormat('en', {maximumSignificantDigits: 3});

export function size(bytes) {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB', 'PB'];
  let unit = 0;
  for (; bytes >= 999.5 && unit < units.length - 1; unit++) bytes /= 1000;
  return `${number.format(bytes)} ${bytes === 1 && !unit ? 'byte' : units[unit]}`;
}

function time(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.ceil(seconds))} s`;
  if (seconds < 3600) return `${Math.ceil(seconds / 60)} min`;
  return `${Math.floor(seconds / 3600)} h ${Math.floor(seconds % 3600 / 60)} min`;
}

export const several = (count, one, many) => `${count} ${count === 1 ? one : many}`;

/** A new element at the end of another. */
export function place(inside, name, text, className) {
  const element = document.createElement(name);
  element.textContent = text ?? '';
  if (className) element.className = className;
  inside.append(element);
  return element;
}

/** How things are, in one sentence. */
export function state(text, isGood = false) {
  $('state').textContent = text;
  $('state').toggleAttribute('data-good', isGood);
}

/** What went wrong; nothing hides it. */
export function notice(text) {
  $('notice').textContent = text ?? '';
  $('notice').hidden = !text;
}

// --- the list and its progress ---------------------------------------------------
/** The entries of a transfer, as #entries, #total and #figures show them. */
export class Progress {
  #verb; #rows = new Map(); #counted = new Map(); #total = 0; #moved = 0; #samples = []; #drawn = 0; #said = 0; #timer; #more = null;

  /** `verb` is what the window's title says: receiving, or sending. */
  constructor(verb) { this.#verb = verb; }

  /** Lists entries anew, `total` bytes in all; `describe(entry)` gives the words beside a name. */
  list(entries, total, describe) {
    this.#total = total;
    this.#rows.clear();
    $('entries').replaceChildren();
    const listed = entries.filter(entry => entry.kind !== 'directory');
    for (const entry of listed.slice(0, SHOWN)) this.row(entry, describe(entry));
    this.#more = listed.length > SHOWN ? place($('entries'), 'li', `and ${listed.length - SHOWN} more`, 'more') : null;
  }

  /** The line of an entry; what is beyond the list's end gets one when `words` are given. */
  row(entry, words) {
    const old = this.#rows.get(entry.name);
    if (old || words === undefined) return old ?? null;
    const line = place($('entries'), 'li');
    place(line, 'span', entry.shown, 'name');
    const row = {line, words: place(line, 'span', words, 'size'), bar: null};
    this.#rows.set(entry.name, row);
    if (this.#more) $('entries').append(this.#more);
    return row;
  }

  /** So many bytes of an entry have come or gone. */
  move(entry, bytes) {
    this.#moved += bytes - (this.#counted.get(entry.name) ?? 0);
    this.#counted.set(entry.name, bytes);
    const row = this.row(entry);
    if (row && !row.bar && row.line.className === '') {
      row.bar = place(row.line, 'progress');
      row.bar.setAttribute('aria-label', entry.shown);
      if (entry.size !== null) { row.bar.max = entry.size || 1; row.bar.value = 0; }
    }
    if (row?.bar && entry.size !== null) row.bar.value = bytes;
    this.#timer ??= setTimeout(() => this.#draw(), Math.max(0, this.#drawn + DRAWING - performance.now()));
  }

  /** An entry begins anew. */
  restart(entry) {
    this.#moved -= this.#counted.get(entry.name) ?? 0;
    this.#counted.delete(entry.name);
  }

  /** Nothing more happens to an entry; `kind` is done or failed. Gives its line. */
  close(entry, kind, words) {
    const row = this.row(entry, words);
    row.bar?.remove();
    row.bar = null;
    row.words.textContent = words;
    row.line.className = kind;
    return row;
  }

  /** A connection that broke: what is counted begins at what is there. */
  pause() { this.#samples = []; }

  stop() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    $('said').textContent = '';
  }

  #draw() {
    this.#timer = undefined;
    const now = this.#drawn = performance.now(), share = this.#total ? Math.min(1, this.#moved / this.#total) : null;
    this.#samples.push({now, moved: this.#moved});
    while (this.#samples.length > 2 && now - this.#samples[0].now > RATE_SPAN) this.#samples.shift();
    const [first] = this.#samples, span = (now - first.now) / 1000, rate = span > 0.2 ? (this.#moved - first.moved) / span : 0;
    const left = rate > 0 && share !== null ? `, ${time((this.#total - this.#moved) / rate)} left` : '';
    const percent = share === null ? '' : `${Math.floor(100 * share)} %, `;
    const words = `${percent}${size(this.#moved)}${this.#total ? ` of ${size(this.#total)}` : ''}${rate > 0 ? `, ${size(rate)}/s` : ''}${left}`;
    $('figures').textContent = words;
    if (share === null) $('total').removeAttribute('value');
    else $('total').value = share;
    document.title = `${percent}${this.#verb}`;
    // Not each time: a screen reader would say nothing else.
    if (now - this.#said > SAYING) {
      this.#said = now;
      $('said').textContent = words;
    }
  }
}
