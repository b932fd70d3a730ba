"""
nginx: the web server behind everybody, and a reverse proxy beside the hive.
"""

from __future__ import annotations

import shutil
import socket
import time
from pathlib import Path

from benchmarks.hive.cell import PIECE, PIECES, SMALL
from benchmarks.hive.scene import BEGINNING, Hive, Program, free_port

_PATH = "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin"

_COMMON = """
worker_processes 1;
daemon off;
error_log stderr warn;
pid {directory}/pid;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000000;
  keepalive_timeout 600;
  client_max_body_size 0;
  client_body_buffer_size 2m;
  client_body_temp_path {directory}/body;
  proxy_temp_path {directory}/proxy;
  fastcgi_temp_path {directory}/fastcgi;
  uwsgi_temp_path {directory}/uwsgi;
  scgi_temp_path {directory}/scgi;
  {servers}
}}
"""

#: Files; an upload is read to its end by nginx, which then asks itself for a word.
_SERVER = """
  upstream myself {{ server 127.0.0.1:{port}; keepalive 64; }}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    root {directory}/www;
    open_file_cache max=10;
    location = /upload {{
      proxy_pass http://myself/done;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Content-Length "";
      proxy_pass_request_body off;
      proxy_method GET;
    }}
    location = /done {{ return 200 "done\\n"; }}
  }}
"""

#: TLS and HTTP/2; bodies go through as they come, as the queen has it.
_PROXY = """
  upstream server {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port} ssl http2 backlog=4096;
    http2_max_requests 1000000000;
    ssl_certificate {identity};
    ssl_certificate_key {identity};
    ssl_protocols TLSv1.2 TLSv1.3;
    location / {{
      proxy_pass http://server;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $host;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_request_buffering off;
    }}
  }}
"""


def _start(hive: Hive, role: str, directory: Path, servers: str, port: int) -> Program:
    program = shutil.which("nginx", path=_PATH)
    if program is None:
        raise SystemExit("nginx is not installed: apt-get install nginx-light")
    directory.mkdir()
    written = directory / "nginx.conf"
    written.write_text(_COMMON.format(directory=directory, servers=servers))
    started = hive.start(role, [program, "-p", str(directory), "-c", str(written), "-e", "stderr"])
    end = time.monotonic() + BEGINNING
    while True:
        with socket.socket() as trying:
            if trying.connect_ex(("127.0.0.1", port)) == 0:
                return started
        if time.monotonic() > end or started.process.poll() is not None:
            raise SystemExit(f"nginx has not begun:\n{hive.log(started)}")
        time.sleep(0.05)


def serve(hive: Hive) -> tuple[Program, int]:
    """The web server: C{/small}, C{/big}, C{/upload}. @return: it, and its port."""
    port, directory = free_port(), hive.directory / "server"
    files = directory / "www"
    started = _start(hive, "server", directory, _SERVER.format(directory=directory, port=port), port)
    files.mkdir()
    (files / "small").write_bytes(SMALL)
    (files / "big").write_bytes(bytes(PIECE * PIECES))
    for path in (directory, files):
        path.chmod(0o755)  # workers are nobody
    return started, port


def proxy(hive: Hive, upstream: int) -> tuple[Program, int]:
    """The reverse proxy. @param upstream: the port of the web server. @return: it, and its port."""
    port, directory = free_port(), hive.directory / "proxy"
    servers = _PROXY.format(upstream=upstream, port=port, identity=hive.directory / "identity.pem")
    return _start(hive, "nginx", directory, servers, port), port
