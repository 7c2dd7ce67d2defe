-- Which tasks lie in some places, in order.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: at most so many tasks  then four for each place: its kind, its name, and behind which
--         task to begin: its order and its mark, both '' for the first
--         zset: the key without the prefix; order is the score, mark the id
--         held: a worker; mark is the id
--         ready: a lane; order is the rank, mark the level (a digit) and then '!' and the id, or
--         the entry in the stream
-- RETURN: [how many places were read to their end, lengths, values] as framed() makes them of four
--         values of each task: the number of its place from 0, order, mark, id ('' where something
--         else lies there)
-- libs: base looking
-- flags: no-writes

local left = tonumber(ARGV[1])
local values, done = {}, 0

local function add(place, order, mark, id)
  local n = #values
  values[n + 1], values[n + 2], values[n + 3], values[n + 4] = place, order, mark, id
  left = left - 1
end

-- How many members of a sorted set are at or before this one, be it there or not.
local function up_to(key, order, member)
  -- Members of one score are in order of their bytes.
  local low, high = peek('ZCOUNT', key, '-inf', '(' .. order), peek('ZCOUNT', key, '-inf', order)
  while low < high do
    local middle = math.floor((low + high) / 2)
    if comes_before(member, peek('ZRANGE', key, middle, middle)[1]) then
      high = middle
    else
      low = middle + 1
    end
  end
  return low
end

local read = {}

function read.zset(place, name, order, mark)
  local key = P .. name
  if not peek('ZCARD', key) then
    return
  end
  local from = order ~= '' and up_to(key, order, mark) or 0
  local found = peek('ZRANGE', key, from, from + left - 1, 'WITHSCORES')
  for i = 1, #found, 2 do
    add(place, found[i + 1], found[i], found[i])
  end
end

function read.held(place, name, _, mark)
  local ids = peek('HKEYS', P .. 'held:' .. name) or {}
  table.sort(ids, comes_before)
  for _, id in ipairs(ids) do
    if left > 0 and comes_before(mark, id) then
      add(place, '0', id, id)
    end
  end
end

-- True if entry a lies behind b.
local function behind(a, b)
  local a1, a2 = string.match(a, '^(%d+)-(%d+)$')
  local b1, b2 = string.match(b, '^(%d+)-(%d+)$')
  a1, b1 = tonumber(a1), tonumber(b1)
  return a1 > b1 or (a1 == b1 and tonumber(a2) > tonumber(b2))
end

-- Where to begin in a level: the place in `early`, and the stream's first as XRANGE takes it.
local function starts(early, stream, order, mark)
  local taken = taken_up_to(stream)
  local from = taken and '(' .. taken or '-'
  if mark == '' then
    return 0, from
  end
  local known = peek('ZCARD', early)
  if string.sub(mark, 1, 1) ~= '!' then
    local at = taken and behind(taken, mark) and taken or mark
    return known and peek('ZCOUNT', early, '-inf', order) or 0, '(' .. at
  end
  -- Of the same rank those of `early` come first.
  local first = whole(tonumber(order)) .. '-0'
  if not (taken and behind(taken, first)) then
    from = first
  end
  return known and up_to(early, order, string.sub(mark, 2)) or 0, from
end

local function read_level(place, lane, level, order, mark)
  local early, stream = P .. 'early:' .. lane .. ':' .. level, P .. 'r:' .. lane .. ':' .. level
  local first, from = starts(early, stream, order, mark)
  local before = peek('ZRANGE', early, first, first + left - 1, 'WITHSCORES') or {}
  local entries = peek('XRANGE', stream, from, '+', 'COUNT', left) or {}
  local i, j = 1, 1
  while left > 0 and (before[i] or entries[j]) do
    local entry = entries[j]
    local rank = entry and string.match(entry[1], '^%d+')
    if before[i] and (not rank or tonumber(before[i + 1]) <= tonumber(rank)) then
      add(place, before[i + 1], level .. '!' .. before[i], before[i])
      i = i + 2
    else
      add(place, rank, level .. entry[1], named(entry[2]).i or '')
      j = j + 1
    end
  end
end

function read.ready(place, name, order, mark)
  local first = mark ~= '' and tonumber(string.sub(mark, 1, 1)) or 9
  mark = string.sub(mark, 2)
  for level = first, 0, -1 do
    if left > 0 then
      read_level(place, name, level, order, mark)
    end
    order, mark = '', ''
  end
end

for i = 2, #ARGV, 4 do
  read[ARGV[i]](whole((i - 2) / 4), ARGV[i + 1], ARGV[i + 2], ARGV[i + 3])
  if left <= 0 then
    break
  end
  done = done + 1
end
return { done, framed(values, #values) }
