"""
A chat, in ASGI: twistd -n hypermail-cell --queen HOST --key-file KEY --mount @/ --asgi chat:app

Who is in the room says things by WebSocket, and hears what others say; who only listens has server-sent events.
"""

import asyncio

PAGE = """<!doctype html>
<meta charset="utf-8">
<link rel="icon" href="data:,">
<title>Chat</title>
<h1>Chat</h1>
<form id="form"><input id="line" autocomplete="off" autofocus> <button>Say</button></form>
<h2>In the room</h2><ul id="room"></ul>
<h2>From outside</h2><ul id="outside"></ul>
<script>
  const add = (list, text) => {
    const item = document.createElement("li");
    item.textContent = text;
    document.getElementById(list).append(item);
  };
  const here = new URL(".", location).href;
  const socket = new WebSocket(here.replace(/^http/, "ws") + "socket");
  socket.onmessage = (event) => add("room", event.data);
  new EventSource(here + "events").onmessage = (event) => add("outside", event.data);
  document.getElementById("form").onsubmit = (event) => {
    event.preventDefault();
    const line = document.getElementById("line");
    socket.send(line.value);
    line.value = "";
  };
</script>
"""

listeners = set()


def say(text):
    for queue in listeners:
        queue.put_nowait(text)


class Listening:
    """Hears what is said."""

    def __enter__(self):
        self.queue = asyncio.Queue()
        listeners.add(self.queue)
        return self.queue

    def __exit__(self, *_):
        listeners.remove(self.queue)


async def socket(receive, send):
    await receive()
    await send({"type": "websocket.accept"})

    async def tell(queue):
        while True:
            await send({"type": "websocket.send", "text": await queue.get()})

    with Listening() as queue:
        telling = asyncio.create_task(tell(queue))
        while (event := await receive())["type"] == "websocket.receive":
            say(event["text"])
        telling.cancel()


async def events(receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})

    async def tell(queue):
        while True:
            body = f"data: {await queue.get()}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})

    with Listening() as queue:
        telling = asyncio.create_task(tell(queue))
        while (await receive())["type"] != "http.disconnect":
            pass
        telling.cancel()


async def page(send):
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/html")]})
    await send({"type": "http.response.body", "body": PAGE.encode()})


async def app(scope, receive, send):
    if scope["type"] == "websocket":
        await socket(receive, send)
    elif scope["type"] == "http" and scope["path"].endswith("/events"):
        await events(receive, send)
    elif scope["type"] == "http":
        await page(send)
    else:
        raise NotImplementedError(scope["type"])
