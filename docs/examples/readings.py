"""
Messages: sensors send readings, a collector keeps them and answers questions: python readings.py PORT, a UDP port.

What the collector has not kept no sensor takes for delivered; what it refuses the sensor learns, with the reason.
"""

import json
import sys
from datetime import UTC, datetime

from twisted.internet.defer import gatherResults
from twisted.internet.task import react

from hypermail import (
    Identity,
    ListenerTLS,
    MessageRejected,
    SessionClientEndpoint,
    SessionFactory,
    SessionProtocol,
    SessionServerEndpoint,
    StarterTLS,
)


class Collector(SessionProtocol):
    """One of these for each sensor; all of them keep what they get in one place."""

    readings = {}

    def messageReceived(self, message):
        reading = json.loads(message)
        if not isinstance(reading["celsius"], float):
            raise MessageRejected("a temperature is a number of degrees")
        self.readings.setdefault(reading["room"], []).append(reading["celsius"])
        # Returning says that it is kept. A Deferred, of a database say, says so when it fires.

    async def askReceived(self, message):
        kept = self.readings[message.decode()]
        return f"{sum(kept) / len(kept):.1f}".encode()


def measure(session, room, celsius):
    return session.sendMessage(json.dumps({"room": room, "celsius": celsius}).encode())


async def main(reactor, port):
    identity = Identity.self_signed("localhost", now=datetime.now(UTC))  # a real one is in a file: readIdentity
    listening = SessionServerEndpoint(reactor, int(port), interface="127.0.0.1", security=ListenerTLS(identity))
    collecting = await listening.listen(SessionFactory.forProtocol(Collector))
    calling = SessionClientEndpoint(reactor, "127.0.0.1", int(port), security=StarterTLS(pin=identity.pin))
    sensor = await calling.connect(SessionFactory.forProtocol(SessionProtocol))

    await gatherResults([measure(sensor.session, "attic", degrees) for degrees in (18.5, 19.0, 19.5)])
    print("kept")
    try:
        await measure(sensor.session, "attic", "warm")
    except MessageRejected as error:
        print("refused:", error.text)
    mean = await sensor.session.ask(b"attic", timeout=10)
    print("mean:", mean.decode())

    await sensor.session.close()
    await collecting.stopListening()


if __name__ == "__main__":
    react(main, sys.argv[1:])
