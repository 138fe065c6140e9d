import asyncio

import rtchat

QUESTION = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi!"}]}


async def main() -> None:
    async with rtchat.connect(url="ws://127.0.0.1:8765/v1/realtime") as rt:
        await rt.session.update({"output_modalities": ["text"], "instructions": "Be brief."})
        await rt.conversation.item.create(QUESTION)
        await rt.response.create()
        async for event in rt:
            if event["type"] == "response.output_text.delta":
                print(event["delta"], end="", flush=True)
            elif event["type"] == "response.done":
                print(f"\n{event['response'].get('status')}")
                break


asyncio.run(main())
