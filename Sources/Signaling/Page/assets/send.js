// The part of the page that sends files: what a person sees and does. sources.js holds what was chosen, sender.js sends it.
import {LEFT_OUT, leftOut} from './protocol.js';
import {FileSender} from './sender.js';
import {Sources, addChosen, addDropped} from './sources.js';
import {$, Progress, notice, place, several, size, state} from './view.js';

const COMPLAINTS = 5;

export class Sending {
  #hook; #sender; #sources = new Sources(); #progress = new Progress('sending'); #isRunning = false; #isChoosing = true;

  /** `hook.state` is what tests look at. */
  constructor(hook) {
    this.#hook = hook;
    this.#sender = new FileSender({
      choose: limits => this.#choose(limits), leftOut: () => this.#sources.leftOut, tell: event => this.#event(event),
    });
    document.title = $('title').textContent = 'Send files';
    $('place').replaceChildren($('send').content);
    for (const input of [$('choose-files'), $('choose-folder')]) {
      input.onchange = () => {
        addChosen(this.#sources, input.files);
        // The same files can be chosen again.
        input.value = '';
        this.#show();
      };
    }
    // Where there is no such dialogue, it would be the one for files once more.
    if (!('webkitdirectory' in HTMLInputElement.prototype)) document.querySelector('[for=choose-folder]').hidden = $('choose-folder').hidden = true;
    $('clear').onclick = () => {
      this.#sources.clear();
      this.#show();
      $('choose-files').focus();
    };
    this.#takeDrops();
  }

  run(channel, inbox) { return this.#sender.run(channel, inbox); }

  connected() { state(this.#isRunning ? 'Sending' : 'Connected with the other machine, which waits for files', true); }

  pause() { this.#progress.pause(); }

  /** Whether the page should not be closed. */
  get isPrecious() { return this.#isRunning; }

  // --- choosing --------------------------------------------------------------------
  #takeDrops() {
    let depth = 0;
    const over = isOver => { $('drop').hidden = !isOver || !this.#isChoosing; };
    addEventListener('dragenter', event => { event.preventDefault(); depth++; over(true); });
    addEventListener('dragleave', () => { depth--; over(depth > 0); });
    addEventListener('dragover', event => event.preventDefault());
    addEventListener('drop', async event => {
      event.preventDefault();
      over(depth = 0);
      if (!this.#isChoosing || !event.dataTransfer) return;
      const adding = addDropped(this.#sources, event.dataTransfer);
      $('offer-title').textContent = 'Reading …';
      await adding;
      this.#show();
    });
  }

  #show() {
    if (!this.#isChoosing) return;
    const sources = this.#sources, {files, count, bytes} = sources, complaints = sources.takeComplaints();
    this.#progress.list(files, bytes, ({size: bytes}) => size(bytes));
    for (const entry of files) {
      const row = this.#progress.row(entry);
      if (!row) break;
      const button = place(row.line, 'button', 'Remove', 'remove');
      button.setAttribute('aria-label', `Remove ${entry.shown}`);
      button.onclick = () => {
        const next = row.line.nextElementSibling ?? row.line.previousElementSibling, name = next?.querySelector('.name')?.textContent;
        sources.remove(entry.name);
        this.#show();
        ([...document.querySelectorAll('#entries li')].find(line => line.querySelector('.name')?.textContent === name)
          ?.querySelector('button') ?? $('choose-files')).focus();
      };
    }
    const words = count ? `${several(count, 'file', 'files')}, ${size(bytes)}` : sources.isEmpty ? 'Nothing chosen yet' : 'Folders without files';
    $('offer-title').textContent = $('said').textContent = words;
    $('send-all').disabled = $('clear').hidden = sources.isEmpty;
    const more = complaints.length - COMPLAINTS;
    notice(complaints.length ? `Left out: ${complaints.slice(0, COMPLAINTS).join('; ')}${more > 0 ? `; and ${more} more` : ''}.` : '');
  }

  /** The entries, once a person has said that they are to be sent. */
  #choose(limits) {
    this.#hook.state = 'choosing';
    return new Promise(done => {
      $('send-all').onclick = () => {
        const sources = this.#sources, excess = sources.excess(limits);
        if (excess) return notice(excess);
        this.#isChoosing = false;
        this.#isRunning = true;
        this.#hook.state = 'sending';
        notice();
        this.#progress.list(sources.files, sources.bytes, ({size: bytes}) => size(bytes));
        for (const {name, reason} of sources.leftOut.slice(0, LEFT_OUT)) this.#progress.close(leftOut(name), 'failed', `not sent: ${reason}`);
        $('choice').hidden = true;
        $('progress').hidden = false;
        state('Sending', true);
        done(sources.entries);
      };
      this.#show();
    });
  }

  // --- sending ---------------------------------------------------------------------
  #event({type, entry, bytes, reason}) {
    if (type === 'progress') this.#progress.move(entry, bytes);
    else if (type === 'restarted') this.#progress.restart(entry);
    else if (type === 'failed') this.#progress.close(entry, 'failed', `not sent: ${reason}`);
    else {
      this.#progress.move(entry, entry.size);
      if (this.#progress.row(entry)) this.#progress.close(entry, 'done', `${size(entry.size)}, arrived`);
    }
  }

  finish({done, failed}) {
    this.#progress.stop();
    this.#isRunning = false;
    $('progress').hidden = true;
    const lost = failed ? `; ${several(failed, 'was', 'were')} not sent` : '';
    const arrived = done ? `${several(done, 'file has', 'files have')} arrived and been checked` : failed ? 'Nothing has arrived' : 'The folders are there';
    state(arrived + lost, !failed);
    document.title = failed ? 'Not all files sent' : 'Files sent';
  }

  fail() {
    this.#progress.stop();
    this.#isRunning = this.#isChoosing = false;
    state('Nothing more is sent');
    $('choice').hidden = $('progress').hidden = true;
  }
}
