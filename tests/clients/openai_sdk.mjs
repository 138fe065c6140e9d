/* Conversations by the SDK `openai`, which prints what it receives as JSON lines.
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

/* A connection, and a queue of its events in order. */
async function connected(session) {
  const rt = new Connection({ model: isGa ? 'gpt-realtime' : 'gpt-4o-realtime-preview' });
  const seen = [];
  let wake = () => {};
  rt.on('event', (event) => { seen.push(event); wake(); });
  rt.on('error', (error) => say({ error: error.message }));

  /* The events up to the first of a type. */
  async function until(type) {
    for (;;) {
      const last = seen.findIndex((event) => event.type === type);
      if (last >= 0) return seen.splice(0, last + 1);
      await new Promise((resolve) => { wake = resolve; });
    }
  }

  await new Promise((resolve) => rt.socket.addEventListener('open', resolve));
  rt.send({ type: 'session.update', session });
  await until('session.updated');
  return { rt, until };
}

function ask(rt, text) {
  const item = { type: 'message', role: 'user', content: [{ type: 'input_text', text }] };
  rt.send({ type: 'conversation.item.create', item });
  rt.send({ type: 'response.create' });
}

/* The deltas of a type, or of several. */
const deltas = (events, ...types) =>
  events.filter(({ type }) => types.includes(type)).map(({ delta }) => delta);

/* The text of the response that ends these events: that of its deltas, if its items have the same. */
function textOf(events) {
  const text = deltas(events, `${OUTPUT}text.delta`, `${OUTPUT}audio_transcript.delta`).join('');
  const parts = events.at(-1).response.output.flatMap((item) => item.content ?? []);
  const whole = parts.map((part) => part.text ?? part.transcript).join('');
  return text === whole ? text : { text, whole };
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
  const { rt, until } = await connected({ ...modality, tools: [weather] });
  ask(rt, 'hello');
  say({ text: textOf(await until('response.done')) });
  ask(rt, 'weather in Oslo?');
  const call = (await until('response.function_call_arguments.done')).at(-1);
  await until('response.done');
  const output = `sunny in ${JSON.parse(call.arguments).city}`;
  say({ tool: JSON.parse(call.arguments), output });
  const item = { type: 'function_call_output', call_id: call.call_id, output };
  rt.send({ type: 'conversation.item.create', item });
  rt.send({ type: 'response.create' });
  say({ text: textOf(await until('response.done')) });
  rt.close();
}

/* An answer that the program stops, and a question after it. */
async function interrupted() {
  const off = isGa
    ? { type: 'realtime', audio: { input: { turn_detection: null } } }
    : { turn_detection: null };
  const { rt, until } = await connected(off);
  ask(rt, 'something long');
  const { item_id } = (await until(`${OUTPUT}audio.delta`)).at(-1);
  rt.send({ type: 'response.cancel' });
  const { response } = (await until('response.done')).at(-1);
  rt.send({ type: 'conversation.item.truncate', item_id, content_index: 0, audio_end_ms: 50 });
  await until('conversation.item.truncated');
  say({ interrupted: response.status === 'cancelled' });
  ask(rt, 'hello');
  say({ text: textOf(await until('response.done')) });
  rt.close();
}

/* Spoken questions; the second answer is interrupted by the third question. */
async function spoken() {
  const detection = { type: 'server_vad' };
  const transcription = { model: 'whisper-1' };
  const hears = isGa
    ? { type: 'realtime', audio: { input: { transcription, turn_detection: detection } } }
    : { input_audio_transcription: transcription, turn_detection: detection };
  const { rt, until } = await connected(hears);
  speak(rt);
  const heard = await until('conversation.item.input_audio_transcription.completed');
  say({ heard: heard.at(-1).transcript });
  const events = await until('response.done');
  const audio = deltas(events, `${OUTPUT}audio.delta`).map((delta) => Buffer.from(delta, 'base64'));
  say({ audio: Buffer.concat(audio).length });
  say({ text: textOf(events) });
  speak(rt);
  await until(`${OUTPUT}audio.delta`);
  speak(rt);
  const { response } = (await until('response.done')).at(-1);
  say({ interrupted: response.status_details.reason === 'turn_detected' });
  say({ text: textOf(await until('response.done')) });
  rt.close();
}

await text();
await interrupted();
await spoken();
