"""
A site with uploads, in Flask: twistd -n hypermail-cell --queen HOST --key-file KEY --mount @/ --wsgi shelf:app

What is put on the shelf can be taken from it again, for as long as this runs.
"""

from hashlib import sha256

from flask import Flask, Response, abort, redirect, render_template_string, request, url_for

PAGE = """<!doctype html>
<link rel="icon" href="data:,">
<title>Shelf</title>
<h1>Shelf</h1>
<form method="post" action="{{ url_for('put') }}" enctype="multipart/form-data">
  <input type="file" name="file" required> <button>Put it here</button>
</form>
<ul>{% for name, data in shelf.items() %}
  <li><a href="{{ url_for('take', name=name) }}">{{ name }}</a> {{ data|length }} {{ digest(data) }}</li>
{% endfor %}</ul>
"""

app = Flask(__name__)
shelf = {}


def digest(data):
    return sha256(data).hexdigest()


@app.get("/")
def look():
    return render_template_string(PAGE, shelf=shelf, digest=digest)


@app.post("/")
def put():
    file = request.files["file"]
    shelf[file.filename] = file.read()
    return redirect(url_for("look"))


@app.get("/<name>")
def take(name):
    if name not in shelf:
        abort(404)
    return Response(shelf[name], mimetype="application/octet-stream")
