-- Accept tasks (P4.1, P4.2, P3.4).
--
-- KEYS: [1] {namespace}:meta
-- ARGV: four for each task: id, row, envelope, and '' or the packed array
--         [delay, run_at (-1: none), unique_for (-1: until its end), schedule ('': none), its
--         version, its slot]
-- RETURN: for each task '' if it was accepted, else the id of the task that stands in its place
-- libs: base row place machine standing short

local lanes_known, none_there = {}, false --@call
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
  if tasks[id] then
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

--@main

-- Most of the time all are new, which one question tells.
local keys = {}
for i = 1, #ARGV, 4 do
  keys[#keys + 1] = task_key(ARGV[i])
end
none_there = #keys > 0 and #keys <= MOST and redis.call('EXISTS', unpack(keys)) == 0
local answers = {}
for i = 1, #ARGV, 4 do
  local extra = ARGV[i + 3] ~= '' and unpack_(ARGV[i + 3]) or PLAIN
  local n = #answers
  local row, told = read_fresh(ARGV[i + 1])
  answers[n + 1] = put(ARGV[i], row, told, ARGV[i + 2], extra, n)
end
write()
return answers
