// The page of a code: meeting.js meets the other side, whose first message says what it does with files; this one does
// the other.
import {Meeting} from './meeting.js';
import {Inbox} from './protocol.js';
import {notice, state} from './view.js';

/** Whether a first message is that of a receiver. */
function wantsFiles(text) {
  try {
    return JSON.parse(text).role === 'receiver';
  } catch {
    return false;
  }
}

export async function meet(room, words) {
  // What tests look at.
  const hook = window.rtcTransfer = {state: 'starting', error: null, meeting: null};
  document.title = 'Files';
  let side = null;
  const end = (state, error) => { hook.state = state; hook.error = error; };
  const isOver = () => ['finished', 'failed'].includes(hook.state);

  function fail(text) {
    end('failed', text);
    state('Not connected');
    side?.fail();
    notice(text);
    document.title = 'Files';
  }

  async function use(channel) {
    // The other machine may connect once more before the end has reached it.
    if (isOver()) return;
    const inbox = new Inbox(channel);
    try {
      if (!side) {
        const first = await inbox.peek();
        if (first === null) return;
        side = wantsFiles(first) ? new (await import('./send.js')).Sending(hook) : new (await import('./receive.js')).Receiving(hook);
      }
      side.connected();
      const summary = await side.run(channel, inbox);
      end('finished', null);
      side.finish(summary);
      // The last message is still on its way.
      setTimeout(() => meeting.finish(), 500);
    } catch (error) {
      side?.pause();
      if (error.code === 'channel-closed') return;
      if (error.code === 'cancelled' && error.isFromPeer) {
        return state('The other machine has stopped; waiting for it to go on …');
      }
      fail(error.isFromPeer && error.code !== 'refused' ? `The other machine ended it: ${error.message}` : error.message);
      setTimeout(() => meeting.finish(), 500);
    }
  }

  const meeting = hook.meeting = new Meeting(room, words, use);
  meeting.addEventListener('words', ({detail}) => { if (!isOver()) state(detail); });
  meeting.addEventListener('paired', () => { if (!isOver()) state('The code is right; connecting …', true); });
  meeting.addEventListener('ended', ({detail}) => { if (!isOver()) fail(detail); });
  addEventListener('beforeunload', event => { if (side?.isPrecious) event.preventDefault(); });
  state(meeting.resumes ? 'Going on with the other machine …' : 'Looking for the other machine …');
  try {
    await meeting.start();
  } catch (error) {
    fail(`This browser cannot move files: ${error.message}`);
  }
}
