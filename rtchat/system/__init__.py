"""What the other folders need of the operating system: private folders, threads, output that may
block.

May import only `rtchat.core`. Start at `worker.py`: one thread that performs calls in order.
"""
