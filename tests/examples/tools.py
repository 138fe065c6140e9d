import asyncio
import json

import rtchat
from rtchat.wire.event_types import ResponseEvent

WEATHER = {
    "type": "function",
    "name": "weather",
    "description": "The weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
}


async def main() -> None:
    async with rtchat.connect(url="ws://127.0.0.1:8765/v1/realtime") as rt:

        @rt.on("response.done")
        async def answer_calls(event: ResponseEvent) -> None:
            calls = [
                item
                for item in event["response"].get("output") or []
                if item["type"] == "function_call"
            ]
            for call in calls:
                output = f"It is sunny in {json.loads(call['arguments'])['city']}."
                await rt.conversation.item.create(
                    {
                        "type": "function_call_output",
                        "call_id": call.get("call_id"),
                        "output": output,
                    }
                )
            if calls:
                await rt.response.create()

        await rt.session.update({"output_modalities": ["text"], "tools": [WEATHER]})
        await rt.conversation.item.create(
            {
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": "How is the weather in Oslo?"}],
            }
        )
        await rt.response.create()
        async for event in rt:
            if event["type"] == "response.output_text.done":
                print(event["text"])
                break


asyncio.run(main())
