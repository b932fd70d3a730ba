"""
What setup.cfg cannot say: the compiled twin of L{hypermail.security.box}, which is built where Cython, a C compiler and
the headers of OpenSSL are there. Without them, and with C{HYPERMAIL_PURE=1}, the package is pure Python.
"""

import os
import sys

from setuptools import Extension, setup

extensions = []
if not os.environ.get("HYPERMAIL_PURE"):
    try:
        from Cython.Build import cythonize
    except ImportError:
        sys.stderr.write("hypermail is built without its compiled twin: there is no Cython\n")
    else:
        twin = Extension("hypermail.security._twin", ["hypermail/security/_twin.pyx"], libraries=["crypto"])
        twin.optional = True  # a compiler that fails says why, and the package is built without
        extensions = cythonize([twin], language_level=3)

setup(ext_modules=extensions)
