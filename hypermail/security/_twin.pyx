# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""
The compiled twin of C{hypermail.security.box}: header, nonce and AEAD of a whole train in one call, by libcrypto.

What each method does, and gives, is said there; the same tests hold both to account. One context per direction and key
is kept, with the key in it; for each datagram only the nonce is set (EVP_EncryptInit(3)).

What is saved so is the same for each datagram, whatever its size. Of large ones the bytes themselves are what takes the
time, and C{cryptography} brings a libcrypto of its own, which may be years younger than the system's, and twice as fast
with them (AES-GCM by AVX-512 came with OpenSSL 3.1): so those are left to it.
"""

from cpython.buffer cimport PyBUF_READ, PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from libc.stdint cimport uint64_t
from libc.stdlib cimport getenv
from libc.string cimport memcmp, memcpy

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305

cdef extern from "openssl/evp.h":
    ctypedef struct EVP_CIPHER_CTX
    ctypedef struct EVP_CIPHER
    ctypedef struct ENGINE
    EVP_CIPHER_CTX *EVP_CIPHER_CTX_new()
    void EVP_CIPHER_CTX_free(EVP_CIPHER_CTX *)
    int EVP_CIPHER_CTX_ctrl(EVP_CIPHER_CTX *, int, int, void *)
    const EVP_CIPHER *EVP_aes_128_gcm()
    const EVP_CIPHER *EVP_aes_256_gcm()
    const EVP_CIPHER *EVP_chacha20_poly1305()
    int EVP_EncryptInit_ex(
        EVP_CIPHER_CTX *, const EVP_CIPHER *, ENGINE *, const unsigned char *, const unsigned char *) nogil
    int EVP_EncryptUpdate(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int) nogil
    int EVP_EncryptFinal_ex(EVP_CIPHER_CTX *, unsigned char *, int *) nogil
    int EVP_DecryptInit_ex(
        EVP_CIPHER_CTX *, const EVP_CIPHER *, ENGINE *, const unsigned char *, const unsigned char *) nogil
    int EVP_DecryptUpdate(EVP_CIPHER_CTX *, unsigned char *, int *, const unsigned char *, int) nogil
    int EVP_DecryptFinal_ex(EVP_CIPHER_CTX *, unsigned char *, int *) nogil
    int EVP_CTRL_AEAD_GET_TAG
    int EVP_CTRL_AEAD_SET_TAG

if getenv("HYPERMAIL_PURE") != NULL:
    raise ImportError("HYPERMAIL_PURE is set")

cdef enum:
    IV = 12
    TAG = 16
    PREFIX = 9
    HEADER = 13
    LARGE = 16384  # bytes of content from which on it is left to cryptography


cdef class Box:
    """See C{hypermail.security.box.Box}."""

    cdef EVP_CIPHER_CTX *_seals  # each is made for the first use
    cdef EVP_CIPHER_CTX *_opens
    cdef const EVP_CIPHER *_cipher
    cdef object _large  # cryptography's, made likewise
    cdef bytes _key
    cdef unsigned char _iv[IV]

    def __cinit__(self, str name, bytes key, bytes iv):
        if name == "AES-128-GCM":
            self._cipher = EVP_aes_128_gcm()
        elif name == "AES-256-GCM":
            self._cipher = EVP_aes_256_gcm()
        elif name == "ChaCha20-Poly1305":
            self._cipher = EVP_chacha20_poly1305()
        else:
            raise ValueError(f"there is no cipher {name!r}")
        if len(iv) != IV or len(key) != (16 if name == "AES-128-GCM" else 32):
            raise ValueError(f"a key of {len(key)} bytes and an IV of {len(iv)} bytes for {name}")
        memcpy(self._iv, PyBytes_AS_STRING(iv), IV)
        self._key = key

    def __dealloc__(self):
        if self._seals != NULL:
            EVP_CIPHER_CTX_free(self._seals)
        if self._opens != NULL:
            EVP_CIPHER_CTX_free(self._opens)

    cdef int _begin(self, bint seals) except -1:
        cdef EVP_CIPHER_CTX *made = EVP_CIPHER_CTX_new()
        cdef const unsigned char *key = <const unsigned char *>PyBytes_AS_STRING(self._key)
        if made == NULL:
            raise MemoryError
        if seals:
            self._seals = made
            good = EVP_EncryptInit_ex(made, self._cipher, NULL, key, NULL)
        else:
            self._opens = made
            good = EVP_DecryptInit_ex(made, self._cipher, NULL, key, NULL)
        if good != 1:
            raise RuntimeError("libcrypto does not take the key")
        return 0

    cdef void _nonce(self, unsigned char *nonce, uint64_t number):
        cdef int index
        memcpy(nonce, self._iv, IV)
        for index in range(8):
            nonce[IV - 1 - index] ^= <unsigned char>(number >> (8 * index))

    cdef object _make_large(self):
        self._large = ChaCha20Poly1305(self._key) if self._cipher == EVP_chacha20_poly1305() else AESGCM(self._key)
        return self._large

    cdef bytes _seal_large(self, bytes header, parts, uint64_t number):
        cdef unsigned char nonce[IV]
        self._nonce(nonce, number)
        return header + (self._large or self._make_large()).encrypt(nonce[:IV], b"".join(parts), header)

    cdef bytes _open_large(self, const unsigned char *datagram, Py_ssize_t length, Py_ssize_t size, uint64_t number):
        cdef unsigned char nonce[IV]
        self._nonce(nonce, number)
        sealed = PyMemoryView_FromMemory(<char *>datagram + length, size, PyBUF_READ)
        try:
            return (self._large or self._make_large()).decrypt(nonce[:IV], sealed, datagram[:length])
        except InvalidTag:
            return None

    cdef bytes _seal(self, const unsigned char *header, Py_ssize_t length, parts, uint64_t number):
        """A whole datagram: C{length} bytes of header, what is sealed of the parts, and the tag."""
        cdef unsigned char nonce[IV]
        cdef int done = 0
        cdef int good
        cdef Py_ssize_t size = length + TAG
        cdef Py_ssize_t left
        cdef Py_buffer view
        if self._seals == NULL:
            self._begin(True)
        for part in parts:
            size += len(part)
        left = size - length - TAG
        if left >= LARGE:
            return self._seal_large(header[:length], parts, number)
        cdef bytes sealed = PyBytes_FromStringAndSize(NULL, size)
        cdef unsigned char *at = <unsigned char *>PyBytes_AS_STRING(sealed)
        memcpy(at, header, length)
        at += length
        self._nonce(nonce, number)
        good = EVP_EncryptInit_ex(self._seals, NULL, NULL, NULL, nonce) == 1
        good &= EVP_EncryptUpdate(self._seals, NULL, &done, header, <int>length) == 1
        for part in parts:
            PyObject_GetBuffer(part, &view, PyBUF_SIMPLE)
            left -= view.len
            if left >= 0:
                memcpy(at, view.buf, view.len)
                at += view.len
            PyBuffer_Release(&view)
            if left < 0:
                break
        if left:
            raise ValueError("parts must be of bytes")
        # In one piece and in its place: to go on behind a part that is no number of blocks costs more than the copy.
        size -= length + TAG
        at -= size
        if size:
            good &= EVP_EncryptUpdate(self._seals, at, &done, at, <int>size) == 1
        at += size
        good &= EVP_EncryptFinal_ex(self._seals, at, &done) == 1
        good &= EVP_CIPHER_CTX_ctrl(self._seals, EVP_CTRL_AEAD_GET_TAG, TAG, at) == 1
        if not good:
            raise RuntimeError("libcrypto has failed to seal")
        return sealed

    cdef bytes _open(self, const unsigned char *datagram, Py_ssize_t length, Py_ssize_t size, uint64_t number):
        """The content of a datagram of C{size} bytes, C{length} of which are its header; or None."""
        cdef unsigned char nonce[IV]
        cdef unsigned char tag[TAG]
        cdef int done = 0
        cdef int good
        if self._opens == NULL:
            self._begin(False)
        size -= length + TAG
        if size < 0:
            return None
        if size >= LARGE:
            return self._open_large(datagram, length, size + TAG, number)
        cdef bytes content = PyBytes_FromStringAndSize(NULL, size)
        cdef unsigned char *at = <unsigned char *>PyBytes_AS_STRING(content)
        self._nonce(nonce, number)
        memcpy(tag, datagram + length + size, TAG)
        good = EVP_DecryptInit_ex(self._opens, NULL, NULL, NULL, nonce) == 1
        good &= EVP_DecryptUpdate(self._opens, NULL, &done, datagram, <int>length) == 1
        if size:
            good &= EVP_DecryptUpdate(self._opens, at, &done, datagram + length, <int>size) == 1
        good &= EVP_CIPHER_CTX_ctrl(self._opens, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1
        good &= EVP_DecryptFinal_ex(self._opens, at + size, &done) == 1
        return content if good else None

    def seal(self, bytes header, parts, uint64_t number):
        return self._seal(<const unsigned char *>PyBytes_AS_STRING(header), len(header), parts, number)

    def seal_train(self, bytes prefix, uint64_t number, contents):
        cdef unsigned char header[HEADER]
        cdef list sealed = []
        if len(prefix) != PREFIX:
            raise ValueError(f"a prefix of {len(prefix)} bytes")
        memcpy(header, PyBytes_AS_STRING(prefix), PREFIX)
        for parts in contents:
            header[PREFIX] = <unsigned char>(number >> 24)
            header[PREFIX + 1] = <unsigned char>(number >> 16)
            header[PREFIX + 2] = <unsigned char>(number >> 8)
            header[PREFIX + 3] = <unsigned char>number
            sealed.append(self._seal(header, HEADER, parts, number))
            number += 1
        return sealed

    def open(self, datagram, Py_ssize_t length, uint64_t number):
        cdef Py_buffer view
        PyObject_GetBuffer(datagram, &view, PyBUF_SIMPLE)
        try:
            return self._open(<const unsigned char *>view.buf, length, view.len, number)
        finally:
            PyBuffer_Release(&view)

    def open_train(self, bytes prefix, datagrams, uint64_t expected):
        cdef Py_buffer view
        cdef const unsigned char *at
        cdef const unsigned char *begins = <const unsigned char *>PyBytes_AS_STRING(prefix)
        cdef uint64_t number
        cdef bytes content
        cdef list found = []
        cdef bint alike
        if len(prefix) != PREFIX:
            raise ValueError(f"a prefix of {len(prefix)} bytes")
        for datagram in datagrams:
            PyObject_GetBuffer(datagram, &view, PyBUF_SIMPLE)
            at = <const unsigned char *>view.buf
            alike = view.len >= HEADER and memcmp(at, begins, PREFIX) == 0
            if alike:
                number = (
                    (<uint64_t>at[PREFIX] << 24) | (<uint64_t>at[PREFIX + 1] << 16)
                    | (<uint64_t>at[PREFIX + 2] << 8) | <uint64_t>at[PREFIX + 3]
                    | (expected & ~<uint64_t>0xFFFFFFFF)
                )
                # Near: at most 2^31 below what is expected, and less than that above (C{box.NEAR}).
                alike = (number < expected and expected - number <= 0x80000000) or (
                    number >= expected and number - expected < 0x80000000
                )
            if not alike:
                PyBuffer_Release(&view)
                break
            content = self._open(at, HEADER, view.len, number)
            PyBuffer_Release(&view)
            found.append((number, content))
            if content is not None and number >= expected:
                expected = number + 1
        return found
