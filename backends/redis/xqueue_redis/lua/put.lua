-- Accept tasks (P4.1, P4.2, P3.4).
--
-- KEYS: [1] {namespace}:meta
-- ARGV: four for each task: id, row, envelope, and '' or the packed array
--         [delay, run_at (-1: none), unique_for (-1: until its end), schedule ('': none), its
--         version, its slot]
-- RETURN: for each task '' if it was accepted, else the id of the task that stands in its place
-- libs: base row place machine standing short

local lanes_known, none_there = {}, false --@call
-- What plain() makes of rows as they came: bytes -> it; and ids of tasks that it was done for.
local kinds, placed = {}, {} --@call
local PLAIN = { 0, -1, -1, '', 0, 0 }

-- The task that an id that is taken stands for.
local function original(id)
  local row = task(id)
  if row and row[OF] ~= '' then
    return row[OF]
  end
  return id
end

local function taken_id(id)
  if tasks[id] or placed[id] then
    return true
  end
  if none_there or call('EXISTS', task_key(id)) == 0 then
    return false
  end
  local _, kind = task(id)
  return kind ~= 'none'
end

local function unique_key(id, row)
  return P .. 'u:' .. type_of(id) .. ':' .. row[UNIQUE_KEY]
end

-- The task that holds this one's unique key, or nil.
local function holder(id, row)
  if row[UNIQUE_KEY] == '' then
    return nil
  end
  local held = unpacked(call('GET', unique_key(id, row)))
  if held and held[2] == -1 then
    local _, kind = task(held[1])
    return kind ~= 'none' and held[1] or nil -- it was never written, or somebody removed it
  elseif held and held[2] > now then
    return held[1]
  end
  return nil
end

local function hold_unique(id, row, seconds)
  if row[UNIQUE_KEY] == '' then
    return
  end
  local key = unique_key(id, row)
  local till = seconds < 0 and -1 or now + seconds
  call('SET', key, pack({ id, till }))
  if till >= 0 then
    call('PEXPIREAT', key, whole(math.ceil(till * 1000)))
  end
end

-- The lane is known from now on, to whoever goes through all of them.
local function know_lane(name)
  if not lanes_known[name] then
    lanes_known[name] = true
    call('HSETNX', P .. 'lanes', name, pack({ false, 0, 0 }))
  end
end

local function duplicate(id, row, of)
  count(row[LANE], id, 'duplicates', 1)
  return of
end

local function put(id, row, told, envelope, extra, nth)
  if taken_id(id) then
    return duplicate(id, row, original(id))
  end
  if extra[4] ~= '' and not fire(extra[4], extra[5], extra[6]) then
    return duplicate(id, row, id)
  end
  local other = holder(id, row)
  if other then
    return duplicate(id, row, other)
  end
  know_lane(row[LANE])
  hold_unique(id, row, extra[3])
  row[ACCEPTED_AT] = now
  set_field(id, 'e', envelope)
  local due = extra[2] >= 0 and extra[2] or now + extra[1]
  machine.accept(id, row, due, nth, has_line(row), now)
  if told and not row[PARKED] then
    ready_bytes[id] = accepted_bytes(row, told)
  end
  return ''
end

-- -- most tasks ----------------------------------------------------------------------------------
--
-- Tasks that may run at once, and have no key of any kind, differ in id, rank and envelope alone:
-- what put() and write() would do for them is done here for all that came with the same row.

-- What those of this row have in common; false if they are not of that kind.
local function plain(bytes)
  local row, told = read_fresh(bytes)
  if not told or row[QUEUE_TIMEOUT] >= 0 or row[KEYED] or row[UNIQUE_KEY] ~= '' then
    return false
  end
  local lane, at = row[LANE], bytes_of(now)
  know_lane(lane)
  return {
    lane = lane,
    level = row[PRIORITY],
    stream = stream_key(lane, row[PRIORITY]),
    row = at .. at .. at .. bytes_of(0) .. '\1' .. BLANK .. told,
    by_type = {},
  }
end

-- Put a task of such a kind; false if that needs more than this.
local function put_plain(id, kind, envelope, rank)
  local entry = try('XADD', kind.stream, format('%d-*', rank), 'i', id)
  if type(entry) ~= 'string' then
    return false
  end
  local bytes = BEGINS.pending .. struct.pack('>BI8', 0xcf, rank) .. kind.row .. entry_bytes(entry)
  call('HSET', task_key(id), 's', bytes, 'e', envelope)
  placed[id] = true
  local type_ = string.match(id, '^[^:]*')
  kind.by_type[type_] = (kind.by_type[type_] or 0) + 1
  tell(id, 1, 'accepted', 'pending', now, kind.lane, 0, 0, '', '')
  return true
end

local function kind_of(id, bytes, extra)
  if extra ~= '' or not none_there or placed[id] or tasks[id] then
    return false
  end
  local kind = kinds[bytes]
  if kind == nil then
    kind = plain(bytes)
    kinds[bytes] = kind
  end
  return kind
end

local function count_plain()
  for _, kind in pairs(kinds) do
    for type_, n in pairs(kind and kind.by_type or {}) do
      count(kind.lane, type_, 'pending', n)
      count(kind.lane, type_, 'accepted', n)
      ready_by(kind.lane, kind.level, n)
      ring(kind.lane, n)
    end
  end
end

--@main

-- Most of the time all are new, which one question tells.
local keys = {}
for i = 1, #ARGV, 4 do
  keys[#keys + 1] = task_key(ARGV[i])
end
none_there = #keys > 0 and #keys <= MOST and redis.call('EXISTS', unpack(keys)) == 0
local answers, first = {}, micros(now)
for i = 1, #ARGV, 4 do
  local id, n = ARGV[i], #answers
  local kind = kind_of(id, ARGV[i + 1], ARGV[i + 3])
  if kind and put_plain(id, kind, ARGV[i + 2], first + n) then
    answers[n + 1] = ''
  else
    local extra = ARGV[i + 3] ~= '' and unpack_(ARGV[i + 3]) or PLAIN
    local row, told = read_fresh(ARGV[i + 1])
    answers[n + 1] = put(id, row, told, ARGV[i + 2], extra, n)
  end
end
count_plain()
write()
return answers
