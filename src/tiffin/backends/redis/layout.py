"""How rows lie in Redis, and the scripts that run inside it.

A row is a string under ``{entity key}`` and four bytes that number its table: all views of an entity are in one slot of
a cluster, and keys are short. Since the number has a fixed length no two keys meet, whatever bytes an entity key has.
Table names and their numbers are in one hash; a number is never given twice. ``EPOCH`` is a mark that changes when a
table is dropped, and when the database was emptied: a client that sees another mark than it knows asks for the numbers
again, so that it never takes the rows of one table for another's.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from hashlib import sha1


@dataclass(frozen=True)
class Script:
    """A script, and what Redis calls it once it knows it."""

    text: str
    sha: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sha", sha1(self.text.encode()).hexdigest())


TABLES = b"tiffin:{tables}"
NEXT = b"tiffin:{tables}:next"
EPOCH = b"tiffin:{tables}:epoch"
CURSORS = b"tiffin:{tables}:cursors"
#: Numbers of dropped tables whose rows may still be there.
GONE = b"tiffin:{tables}:gone"

_NUMBER_BYTES = 4
_GLOB = frozenset(b"*?[]^-\\")

#: The rows that are held for some keys, unless the mark is another one.
_HELD = """\
local first = 1
if ARGV[1] ~= '' then
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then return -1 end
  first = 2
end
local count = #KEYS - first + 1
local held = redis.call('MGET', unpack(KEYS, first))
"""

#: KEYS: the mark, rows; without the mark where ARGV has none. ARGV: the mark that the keys belong to, the contents of
#: the rows, then for each the moment in ms at which it leaves (negative: from now), or nothing. How many rows were
#: newer, or ``ANOTHER_MARK``. Of two contents the one with the greater bytes stays; Lua's own comparison goes by the
#: locale, so bytes are compared by fours.
WRITE = Script(
    _HELD
    + """
local function newer(a, b)
  local least, i = math.min(#a, #b), 1
  while i + 3 <= least do
    local x, y = struct.unpack('>I4', a, i), struct.unpack('>I4', b, i)
    if x ~= y then return x > y end
    i = i + 4
  end
  while i <= least do
    local x, y = string.byte(a, i), string.byte(b, i)
    if x ~= y then return x > y end
    i = i + 1
  end
  return #a > #b
end
local sets, leaves, size, written = {}, {}, 0, 0
for i = 1, count do
  local key, row = KEYS[first + i - 1], ARGV[1 + i]
  if not held[i] or newer(row, held[i]) then
    sets[size + 1], sets[size + 2] = key, row
    leaves[size + 1] = tonumber(ARGV[1 + count + i])
    size, written = size + 2, written + 1
  end
end
if written > 0 then
  redis.call('MSET', unpack(sets))
  for i = 1, size, 2 do
    local at = leaves[i]
    if at and at < 0 then redis.call('PEXPIRE', sets[i], -at) elseif at then redis.call('PEXPIREAT', sets[i], at) end
  end
end
return written
"""
)
ANOTHER_MARK = -1

#: KEYS: as above. ARGV: the mark, what the rows begin with that are there (empty: none is), the new rows. For each key
#: 1 or 0, whether its new row is there now, or ``ANOTHER_MARK``.
SWAP = Script(
    _HELD
    + """
local sets, done = {}, {}
for i = 1, count do
  local expected, row = ARGV[1 + i], ARGV[1 + count + i]
  done[i] = 0
  if held[i] == row then
    done[i] = 1
  elseif (expected == '' and not held[i])
      or (expected ~= '' and held[i] and string.sub(held[i], 1, #expected) == expected) then
    done[i] = 1
    sets[#sets + 1] = KEYS[first + i - 1]
    sets[#sets + 1] = row
  end
end
if #sets > 0 then redis.call('MSET', unpack(sets)) end
return done
"""
)

#: KEYS: as above. ARGV: the mark, then what ``_room`` makes of a ``Room``, then for each key a row of facts. For each
#: key 1 or 0, whether its facts are there now, or ``ANOTHER_MARK``. It is ``tails.extended``; Lua has no integers of 64
#: bits, so times are compared by their halves.
EXTEND = Script(
    _HELD
    + """
local width, most, most_bytes = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local gone, beside = ARGV[5], ARGV[6]
local function later(a, at, b, bt)
  local x, y = struct.unpack('<i4', a, at + 4), struct.unpack('<i4', b, bt + 4)
  if x ~= y then return x > y end
  return struct.unpack('<I4', a, at) > struct.unpack('<I4', b, bt)
end
local function extended(held, row)
  local had, more = struct.unpack('<I4', held, 21), struct.unpack('<I4', row, 21)
  if had == 0 or string.sub(held, 25, 56) ~= beside then return nil end
  if had + more > most or #held + #row - 64 > most_bytes then return nil end
  local last, cut = 64 + had * width, 64 + more * width
  if not later(row, 65, held, last - width + 1) then return nil end
  if not later(held, 65 + math.floor(had / 2) * width, gone, 1) then return nil end
  local latest = later(row, 57, held, 57) and row or held
  return string.sub(row, 1, 20) .. struct.pack('<I4', had + more) .. beside .. string.sub(latest, 57, 64)
    .. string.sub(held, 65, last) .. string.sub(row, 65, cut) .. string.sub(held, last + 1) .. string.sub(row, cut + 1)
end
local sets, done = {}, {}
for i = 1, count do
  local old, row = held[i], ARGV[6 + i]
  done[i] = 1
  if not old or string.sub(old, 1, 16) ~= string.sub(row, 1, 16) then
    local new = row
    if old then new = extended(old, row) end
    if new then
      sets[#sets + 1] = KEYS[first + i - 1]
      sets[#sets + 1] = new
    else
      done[i] = 0
    end
  end
end
if #sets > 0 then redis.call('MSET', unpack(sets)) end
return done
"""
)

#: KEYS: the hash of tables, the counter, the mark. ARGV: a new mark, names. Numbers are given out where there are none.
ENSURE = """
redis.call('SETNX', KEYS[3], table.remove(ARGV, 1))
local found = {}
for i, name in ipairs(ARGV) do
  local number = redis.call('HGET', KEYS[1], name)
  if not number then
    number = redis.call('INCR', KEYS[2])
    redis.call('HSET', KEYS[1], name, number)
  end
  found[i] = tonumber(number)
end
return found
"""

#: KEYS: the hash of tables, the mark, the cursors, the numbers that are gone. ARGV: a new mark, names. All numbers that
#: are gone.
DROP = """
local mark = table.remove(ARGV, 1)
for i, name in ipairs(ARGV) do
  local number = redis.call('HGET', KEYS[1], name)
  if number then
    redis.call('HSET', KEYS[4], number, name)
    redis.call('HDEL', KEYS[1], name)
    redis.call('SET', KEYS[2], mark)
  end
  redis.call('HDEL', KEYS[3], name)
end
local found = {}
for i, number in ipairs(redis.call('HKEYS', KEYS[4])) do found[i] = tonumber(number) end
return found
"""


def suffix(number: int) -> bytes:
    """What ends the keys of a table."""
    return b"}" + number.to_bytes(_NUMBER_BYTES, "big")


def number_of(suffix: bytes) -> int:
    """The number of the table whose keys end so."""
    return int.from_bytes(suffix[1:], "big")


def row_key(key: bytes, ending: bytes) -> bytes:
    """The key of a row; ``ending`` is the table's ``suffix``."""
    return b"{" + key + ending


def entity_key(row_key: bytes) -> bytes:
    """The entity key of a row's key."""
    return row_key[1 : -1 - _NUMBER_BYTES]


def pattern(number: int) -> bytes:
    """The pattern of SCAN for the keys of a table; it may let others through."""
    return b"{*" + b"".join(b"\\" + bytes([b]) if b in _GLOB else bytes([b]) for b in suffix(number))
