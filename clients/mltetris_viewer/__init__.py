"""The pygame window: watch any run of an mlTetris server, and steer it.

The rooms, from the wire to the eye; imports run downwards in this list only:

- `app`      the window's loop: events in, pictures out
- `drawing`  draws what the model says (the only room besides `app` and `startup` with pygame in it)
- `link`     the threads that talk to the server through the SDK
- `layout`, `actions`   where things stand, and what keys and buttons do
- `model`    what is known of the server, its runs and the watched run: pure state, fed by events
"""
