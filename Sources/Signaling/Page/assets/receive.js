// The part of the page that receives files: what a person sees and does. transfer.js is told what to take, sinks.js puts
// it somewhere.
import {printable} from './protocol.js';
import {bestKind, flat, openSink} from './sinks.js';
import {FileReceiver} from './transfer.js';
import {$, Progress, notice, place, several, size, state} from './view.js';

const WHERE = {
  file: 'You will be asked where to save it.',
  folder: 'You will be asked for a folder to put them in. Nothing in it is overwritten.',
  private: 'The browser keeps what comes on this device’s disk until you save it.',
  memory: 'The browser keeps what comes until you save it.',
};

const described = entry => entry.kind === 'symlink' ? 'link' : entry.size === null ? 'size not known' : size(entry.size);

export class Receiving {
  #hook; #receiver; #progress = new Progress('receiving'); #links = []; #isRunning = false;

  /** `hook.state` is what tests look at. */
  constructor(hook) {
    this.#hook = hook;
    this.#receiver = new FileReceiver({accept: offer => this.#ask(offer), tell: event => this.#event(event)});
    $('title').textContent = 'Files for you';
    $('place').replaceChildren($('receive').content);
  }

  run(channel, inbox) { return this.#receiver.run(channel, inbox); }

  connected() { state(this.#isRunning ? 'Receiving' : 'Connected with the sender', true); }

  pause() { this.#progress.pause(); }

  /** Whether something came that would be lost with the page. */
  get isPrecious() { return this.#isRunning || this.#links.some(({row}) => !row.isSaved); }

  /** Shows what is offered; gives the sink that the person chose, or null if the files are not wanted. */
  #ask(offer) {
    const {entries, files, bytes} = offer, kind = bestKind(entries), hook = this.#hook;
    hook.state = 'offered';
    for (const entry of entries) entry.shown = printable(entry.name);
    const unknown = entries.some(entry => entry.size === null);
    $('offer-title').textContent = files ? `${several(files, 'file', 'files')}, ${size(bytes)}${unknown ? ' and more' : ''}` : 'Folders without files';
    $('where').textContent = WHERE[kind];
    this.#progress.list(entries, bytes, described);
    $('offer').hidden = false;
    state('The sender offers you files', true);
    return new Promise(done => {
      $('accept').onclick = async () => {
        $('accept').disabled = $('refuse').disabled = true;
        try {
          const sink = await openSink(kind, entries, bytes);
          $('choice').hidden = true;
          $('progress').hidden = false;
          notice();
          state('Receiving');
          this.#isRunning = true;
          hook.state = 'receiving';
          done(sink);
        } catch (error) {
          notice(error.name === 'AbortError' ? 'No place was chosen: nothing is received yet.' : `That place cannot be used: ${error.message}`);
          $('accept').disabled = $('refuse').disabled = false;
          $('accept').focus();
        }
      };
      $('refuse').onclick = () => { hook.state = 'refused'; done(null); };
    });
  }

  #event({type, entry, bytes, reason, blob}) {
    entry.shown ??= printable(entry.name);
    if (type === 'progress') this.#progress.move(entry, bytes);
    else if (type === 'restarted') this.#progress.restart(entry);
    else if (type === 'failed') this.#progress.close(entry, 'failed', `not received: ${reason}`);
    else if (type === 'left-out') this.#progress.close(entry, 'failed', `not sent: ${reason}`);
    else {
      this.#progress.move(entry, bytes);
      // What is beyond the list's end appears when there is something to save.
      const words = `${size(bytes)}, checked`;
      if (blob || this.#progress.row(entry)) {
        const row = this.#progress.close(entry, 'done', words);
        if (blob) this.#link(row, entry, blob);
      }
    }
  }

  #link(row, entry, blob) {
    const link = place(row.line, 'a', 'Save', 'button');
    link.href = URL.createObjectURL(blob);
    link.download = flat(entry.path);
    link.setAttribute('aria-label', `Save ${entry.shown}`);
    link.addEventListener('click', () => { row.isSaved = true; link.textContent = 'Save again'; });
    this.#links.push({link, row});
  }

  finish({done, failed}) {
    this.#progress.stop();
    this.#isRunning = false;
    const count = this.#links.length;
    $('progress').hidden = true;
    const lost = failed ? `; ${several(failed, 'was', 'were')} not received` : '';
    state(`${several(done, 'file has', 'files have')} come${lost}${count ? '. Save what you want to keep.' : ''}`, !failed);
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

  fail() {
    this.#progress.stop();
    this.#isRunning = false;
    state('Nothing more comes');
    $('choice').hidden = $('progress').hidden = true;
  }
}
