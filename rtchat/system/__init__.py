"""Operating-system helpers: private folders, worker threads, and output that never blocks.

May import only `rtchat.core`. Start at `worker.py`: a thread that runs jobs in order.
"""
