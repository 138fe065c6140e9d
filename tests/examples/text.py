import asyncio

import rtchat


async def main() -> None:
    async with rtchat.connect(url="ws://127.0.0.1:8765/v1/realtime", reconnect=True) as rt:
        for question in ("Hi!", "Is it raining?"):
            try:
                async for piece in rt.text(question):
                    print(piece, end="", flush=True)
                print()
            except rtchat.ReplyError as error:
                print(f"\nnot complete: {error}")


asyncio.run(main())
