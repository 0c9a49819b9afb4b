// The page that receives files by a code: what a person sees and does. meeting.js meets the sender, transfer.js is
// told what to take, sinks.js puts it somewhere.
import {Meeting} from './meeting.js';
import {bestKind, flat, openSink} from './sinks.js';
import {FileReceiver, printable} from './transfer.js';

const $ = id => document.getElementById(id);
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

const several = (count, one, many) => `${count} ${count === 1 ? one : many}`;

const WHERE = {
  file: 'You will be asked where to save it.',
  folder: 'You will be asked for a folder to put them in. Nothing in it is overwritten.',
  private: 'The browser keeps what comes on this device’s disk until you save it.',
  memory: 'The browser keeps what comes until you save it.',
};

const place = (one, name, text, className) => {
  const element = document.createElement(name);
  element.textContent = text ?? '';
  if (className) element.className = className;
  one.append(element);
  return element;
};

class View {
  #rows = new Map(); #counted = new Map(); #links = []; #total = 0; #received = 0; #samples = []; #drawn = 0; #said = 0; #timer; #isRunning = false;

  state(text, isGood = false) {
    $('state').textContent = text;
    $('state').toggleAttribute('data-good', isGood);
  }

  notice(text) {
    $('notice').textContent = text ?? '';
    $('notice').hidden = !text;
  }

  /** Shows what is offered; gives the sink that the person chose, or null if the files are not wanted. */
  ask(offer) {
    const {entries, files, bytes} = offer, kind = bestKind(entries);
    this.#total = bytes;
    const unknown = entries.some(entry => entry.size === null);
    $('offer-title').textContent = files ? `${several(files, 'file', 'files')}, ${size(bytes)}${unknown ? ' and more' : ''}` : 'Folders without files';
    $('where').textContent = WHERE[kind];
    for (const entry of entries) {
      if (entry.kind !== 'directory' && this.#rows.size < SHOWN) this.#row(entry);
    }
    const hidden = entries.filter(entry => entry.kind !== 'directory').length - this.#rows.size;
    if (hidden > 0) place($('entries'), 'li', `and ${several(hidden, 'more', 'more')}`, 'more');
    $('offer').hidden = false;
    this.state('The sender offers you files', true);
    return new Promise(done => {
      $('accept').onclick = async () => {
        $('accept').disabled = $('refuse').disabled = true;
        try {
          const sink = await openSink(kind, entries, bytes);
          $('choice').hidden = true;
          $('progress').hidden = false;
          this.notice();
          this.state('Receiving');
          this.#isRunning = true;
          done(sink);
        } catch (error) {
          this.notice(error.name === 'AbortError' ? 'No place was chosen: nothing is received yet.' : `That place cannot be used: ${error.message}`);
          $('accept').disabled = $('refuse').disabled = false;
          $('accept').focus();
        }
      };
      $('refuse').onclick = () => done(null);
    });
  }

  #row(entry) {
    const line = place($('entries'), 'li');
    place(line, 'span', printable(entry.name), 'name');
    const words = place(line, 'span', entry.kind === 'symlink' ? 'link' : entry.size === null ? 'size not known' : size(entry.size), 'size');
    const row = {line, words, bar: null, entry};
    this.#rows.set(entry.name, row);
    return row;
  }

  event({type, entry, bytes, reason, blob}) {
    // What is beyond the list's end appears when there is something to save or to tell.
    const row = this.#rows.get(entry.name) ?? (blob || type === 'failed' ? this.#row(entry) : {});
    if (type === 'progress') {
      this.#count(entry, bytes);
      if (row.line && !row.bar) {
        row.bar = place(row.line, 'progress');
        row.bar.setAttribute('aria-label', printable(entry.name));
        if (entry.size !== null) { row.bar.max = entry.size; row.bar.value = 0; }
      }
      if (row.bar && entry.size !== null) row.bar.value = bytes;
      this.#timer ??= setTimeout(() => this.#draw(), Math.max(0, this.#drawn + DRAWING - performance.now()));
    } else if (type === 'restarted') {
      this.#count(entry, 0);
    } else {
      row.bar?.remove();
      if (row.bar) row.bar = null;
      if (type === 'failed') {
        row.words.textContent = `not received: ${reason}`;
        row.line.className = 'failed';
      } else {
        this.#count(entry, bytes);
        if (row.words) row.words.textContent = `${size(bytes)}, checked`;
        if (row.line) row.line.className = 'done';
        if (blob) this.#link(row, entry, blob);
      }
    }
  }

  /** Counts what is new of a file. */
  #count(entry, bytes) {
    this.#received += bytes - (this.#counted.get(entry.name) ?? 0);
    this.#counted.set(entry.name, bytes);
  }

  #link(row, entry, blob) {
    const link = place(row.line, 'a', 'Save', 'button');
    link.href = URL.createObjectURL(blob);
    link.download = flat(entry.path);
    link.setAttribute('aria-label', `Save ${printable(entry.name)}`);
    link.addEventListener('click', () => { row.isSaved = true; link.textContent = 'Save again'; });
    this.#links.push({link, row});
  }

  /** Whether something came that would be lost with the page. */
  get isPrecious() { return this.#isRunning || this.#links.some(({row}) => !row.isSaved); }

  #draw() {
    this.#timer = undefined;
    const now = this.#drawn = performance.now(), share = this.#total ? Math.min(1, this.#received / this.#total) : null;
    this.#samples.push({now, received: this.#received});
    while (this.#samples.length > 2 && now - this.#samples[0].now > RATE_SPAN) this.#samples.shift();
    const [first] = this.#samples, span = (now - first.now) / 1000, rate = span > 0.2 ? (this.#received - first.received) / span : 0;
    const left = rate > 0 && share !== null ? `, ${time((this.#total - this.#received) / rate)} left` : '';
    const percent = share === null ? '' : `${Math.floor(100 * share)} %, `;
    const words = `${percent}${size(this.#received)}${this.#total ? ` of ${size(this.#total)}` : ''}${rate > 0 ? `, ${size(rate)}/s` : ''}${left}`;
    $('figures').textContent = words;
    if (share === null) $('total').removeAttribute('value');
    else $('total').value = share;
    document.title = `${percent}receiving`;
    // Not each time: a screen reader would say nothing else.
    if (now - this.#said > SAYING) {
      this.#said = now;
      $('said').textContent = words;
    }
  }

  /** A connection that broke: what is counted begins at what is there. */
  pause() { this.#samples = []; }

  finish({done, failed}) {
    clearTimeout(this.#timer);
    this.#isRunning = false;
    const count = this.#links.length;
    $('progress').hidden = true;
    const lost = failed ? `; ${several(failed, 'was', 'were')} not received` : '';
    this.state(`${several(done, 'file has', 'files have')} come${lost}${count ? '. Save what you want to keep.' : ''}`, !failed);
    document.title = 'Files received';
    if (count > 1) {
      $('save-all').hidden = false;
      $('save-all').onclick = async () => {
        for (const {link} of this.#links) {
          link.click();
          // Browsers drop downloads that are asked for all at once.
          await new Promise(next => setTimeout(next, 400));
        }
      };
    }
    (count > 1 ? $('save-all') : this.#links[0]?.link)?.focus();
  }

  fail(words) {
    clearTimeout(this.#timer);
    this.#isRunning = false;
    this.state('Nothing more comes');
    this.notice(words);
    $('choice').hidden = $('progress').hidden = true;
    document.title = 'Files';
  }
}

export async function receive(room, words) {
  const view = new View();
  // What tests look at.
  const hook = window.rtcTransfer = {state: 'starting', error: null, meeting: null};
  document.title = 'Files';
  const receiver = new FileReceiver({
    accept: offer => {
      hook.state = 'offered';
      return view.ask(offer).then(sink => { hook.state = sink ? 'receiving' : 'refused'; return sink; });
    },
    tell: event => view.event(event),
  });
  const end = (state, error) => { hook.state = state; hook.error = error; };
  const fail = text => { end('failed', text); view.fail(text); };

  async function use(channel) {
    view.state(hook.state === 'receiving' ? 'Receiving' : 'Connected with the sender', true);
    try {
      const summary = await receiver.run(channel);
      end('finished', null);
      view.finish(summary);
      // The last answer is still on its way.
      setTimeout(() => meeting.finish(), 500);
    } catch (error) {
      if (error.code === 'channel-closed') return view.pause();
      if (error.code === 'cancelled' && error.isFromPeer) {
        view.pause();
        return view.state('The sender has stopped; waiting for it to go on …');
      }
      fail(error.isFromPeer && error.code !== 'refused' ? `The sender ended it: ${error.message}` : error.message);
      setTimeout(() => meeting.finish(), 500);
    }
  }

  const meeting = hook.meeting = new Meeting(room, words, use);
  meeting.addEventListener('words', ({detail}) => { if (!['finished', 'failed'].includes(hook.state)) view.state(detail); });
  meeting.addEventListener('paired', () => view.state('The code is right; connecting …', true));
  meeting.addEventListener('ended', ({detail}) => { if (hook.state !== 'finished') fail(detail); });
  addEventListener('beforeunload', event => { if (view.isPrecious) event.preventDefault(); });
  view.state(meeting.resumes ? 'Going on with the sender …' : 'Looking for the sender …');
  try {
    await meeting.start();
  } catch (error) {
    fail(`This browser cannot receive files: ${error.message}`);
  }
}
