/* Conversations by the SDK `openai`, which prints what it saw as JSON lines.
   Arguments: the URL of the server, and a file of speech followed by silence (PCM16, 24 kHz).
   Environment: DIALECT, `ga` or `beta`; SOCKET, `ws` or `websocket` (that of browsers). */

import { readFileSync } from 'node:fs';

const [url, file] = process.argv.slice(2);
const { DIALECT, SOCKET } = process.env;
const isGa = DIALECT === 'ga';
const sdk = await import(`openai${isGa ? '' : '/beta'}/realtime/${SOCKET}`);
const Connection = SOCKET === 'ws' ? sdk.OpenAIRealtimeWS : sdk.OpenAIRealtimeWebSocket;
const OUTPUT = isGa ? 'response.output_' : 'response.';
const weather = {
  type: 'function',
  name: 'weather',
  description: 'The weather in a city.',
  parameters: { type: 'object', properties: { city: { type: 'string' } } },
};
const say = (seen) => console.log(JSON.stringify(seen));

process.env.OPENAI_BASE_URL = url.replace('wss:', 'https:').replace(/\/realtime$/, '');

async function connected(session) {
  const rt = new Connection({ model: isGa ? 'gpt-realtime' : 'gpt-4o-realtime-preview' });
  rt.on('error', (error) => say({ error: error.message }));
  await new Promise((resolve) => rt.socket.addEventListener('open', resolve));
  rt.send({ type: 'session.update', session });
  await next(rt, 'session.updated');
  return rt;
}

/** The next event of a type. */
const next = (rt, type) =>
  new Promise((resolve) => {
    const listener = (event) => { rt.off(type, listener); resolve(event); };
    rt.on(type, listener);
  });

function ask(rt, text) {
  const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text }] };
  rt.send({ type: 'conversation.item.create', item });
  rt.send({ type: 'response.create' });
}

/** The text of the next response: that of its deltas, if it is that of its items, too. */
async function answer(rt) {
  let text = '';
  const listener = (event) => { text += event.delta; };
  const types = [`${OUTPUT}text.delta`, `${OUTPUT}audio_transcript.delta`];
  for (const type of types) rt.on(type, listener);
  const { response } = await next(rt, 'response.done');
  for (const type of types) rt.off(type, listener);
  const parts = response.output.flatMap((item) => item.content ?? []);
  const whole = parts.map((part) => part.text ?? part.transcript).join('');
  return text === whole ? text : { deltas: text, whole };
}

function speak(rt) {
  const speech = readFileSync(file);
  for (let at = 0; at < speech.length; at += 4800) {
    const audio = speech.subarray(at, at + 4800).toString('base64');
    rt.send({ type: 'input_audio_buffer.append', audio });
  }
}

/* A question, and one that a tool answers. */
async function text() {
  const modality = isGa ? { type: 'realtime', output_modalities: ['text'] } : { modalities: ['text'] };
  const rt = await connected({ ...modality, tools: [weather] });
  ask(rt, 'hello');
  say({ text: await answer(rt) });
  ask(rt, 'weather in Oslo?');
  const call = await next(rt, 'response.function_call_arguments.done');
  await next(rt, 'response.done');
  const output = `sunny in ${JSON.parse(call.arguments).city}`;
  say({ tool: JSON.parse(call.arguments), output });
  const item = { type: 'function_call_output', call_id: call.call_id, output };
  rt.send({ type: 'conversation.item.create', item });
  rt.send({ type: 'response.create' });
  say({ text: await answer(rt) });
  rt.close();
}

/* An answer that the program stops, and a question after it. */
async function interrupted() {
  const off = isGa
    ? { type: 'realtime', audio: { input: { turn_detection: null } } }
    : { turn_detection: null };
  const rt = await connected(off);
  ask(rt, 'something long');
  const { item_id } = await next(rt, `${OUTPUT}audio.delta`);
  rt.send({ type: 'response.cancel' });
  const { response } = await next(rt, 'response.done');
  rt.send({ type: 'conversation.item.truncate', item_id, content_index: 0, audio_end_ms: 50 });
  await next(rt, 'conversation.item.truncated');
  say({ interrupted: response.status === 'cancelled' });
  ask(rt, 'hello');
  say({ text: await answer(rt) });
  rt.close();
}

/* Spoken questions; the second answer is interrupted by the third question. */
async function spoken() {
  const detection = { type: 'server_vad' };
  const transcription = { model: 'whisper-1' };
  const hears = isGa
    ? { type: 'realtime', audio: { input: { transcription, turn_detection: detection } } }
    : { input_audio_transcription: transcription, turn_detection: detection };
  const rt = await connected(hears);
  let bytes = 0;
  rt.on(`${OUTPUT}audio.delta`, ({ delta }) => { bytes += Buffer.from(delta, 'base64').length; });
  const heard = next(rt, 'conversation.item.input_audio_transcription.completed');
  speak(rt);
  say({ heard: (await heard).transcript });
  const first = await answer(rt);
  say({ audio: bytes });
  say({ text: first });
  speak(rt);
  await next(rt, `${OUTPUT}audio.delta`);
  speak(rt);
  const { response } = await next(rt, 'response.done');
  say({ interrupted: response.status_details.reason === 'turn_detected' });
  say({ text: await answer(rt) });
  rt.close();
}

await text();
await interrupted();
await spoken();
