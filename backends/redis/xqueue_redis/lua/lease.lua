-- Take tasks for a worker (P1.2, P2.3).
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: worker  2: number of the call  3: most tasks  4: packed [[lane, most], ...]
-- RETURN: [what, seconds until something may be due in these lanes (text; '' if nothing is, or
--         where there is anything else to answer), envelopes, packed [[id, token, attempt, losses,
--         accepted_at, due_at, leased_at], ...], ready lanes];
--         what is 'ok', 'lost' (nobody knows the worker), or 'old' (the second is its last call)
-- libs: base row place machine aside choice short
-- flags: allow-oom

local worker, number, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]) --@call
local envelopes, heads = {}, {} --@call

local function deliver(id, row, envelope)
  envelopes[#envelopes + 1] = envelope
  heads[#heads + 1] = { id, row[DELIVERY], row[ATTEMPT], row[LOSSES], row[ACCEPTED_AT], row[DUE_AT],
    row[LEASED_AT] }
end

-- What this very call took when it was made before, less what is no longer current.
local function answered_before()
  local held = call('HGETALL', P .. 'held:' .. worker)
  for i = 1, #held, 2 do
    if string.match(held[i + 1], ':(%d+):') == ARGV[2] then
      local row = sound(held[i], nil, nil)
      if row and row[STATE] == 'processing' and row[WORKER] == worker then
        deliver(held[i], row, call('HGET', task_key(held[i]), 'e'))
      end
    end
  end
  return #envelopes > 0
end

local take_all
do
  -- Most bytes of the envelopes that one call takes, if it takes more than one: its answer has to
  -- arrive within its time over a slow line, too.
  local MOST_BYTES = 1024 * 1024

  -- A task that was chosen stays there, where it was: its entry went when it was read.
  local function leave(id, row)
    if row[ENTRY] ~= '' then
      row[ENTRY] = ''
      score(early_key(row[LANE], row[PRIORITY]), id, row[RANK])
      touch(id, row)
    end
  end

  -- Lease a task that was chosen, if it is there; false if there is no room for it beside so many
  -- bytes, else its own.
  local function take(lane, level, id, entry, bytes)
    if tasks[id] then
      return 0 -- it lay here twice, and was taken
    end
    local found = redis.pcall('HMGET', task_key(id), 's', 'e')
    local row = not found.err and read_row(found[1])
    if not row then
      stray(lane, level, id, entry)
      return 0
    end
    tasks[id] = row
    if row[ENTRY] ~= entry or row[STATE] ~= 'pending' or row[PARKED] then
      if entry == '' then -- somebody put it there, where it would come first for ever
        score(early_key(lane, level), id, false)
        call('SADD', P .. 'repair', lane)
      end
      return 0
    end
    local envelope = found[2]
    local size = envelope and #envelope or 0
    if bytes + size > MOST_BYTES and bytes > 0 then
      leave(id, row)
      return false
    end
    if machine.lease(id, row, worker, number, micros(now), now) ~= 'applied' then
      return 0
    end
    ready_bytes[id] = leased_bytes(row, found[1], entry)
    deliver(id, row, envelope)
    return size
  end

  -- Leave what was chosen behind the last for which there was room.
  local function put_back(one)
    if one.entry == '' or tasks[one.id] then
      return
    end
    local row = task(one.id)
    if not row then
      stray(one.lane, one.level, one.id, one.entry)
    elseif row[ENTRY] == one.entry and row[STATE] == 'pending' and not row[PARKED] then
      leave(one.id, row)
    end
  end

  -- The turns that are used up where only the first n of what was chosen was taken.
  local function turns_of(chosen, n, open, turn, turns)
    local seen = {}
    for i = 1, n do
      seen[chosen[i].lane] = (seen[chosen[i].lane] or 0) + 1
    end
    for _, one in ipairs(open) do
      if turns[one.lane] then
        local many_ = seen[one.lane]
        turns[one.lane] = many_ and select(2, pick(one.levels, many_, turn_of(turn, one.lane)))
      end
    end
  end

  -- Take what was chosen of these lanes, as far as there is room: the lane of the last. `turns`
  -- become those that this uses up.
  function take_all(chosen, open, turn, turns)
    local bytes, last = 0, #chosen
    for n, one in ipairs(chosen) do
      local size = take(one.lane, one.level, one.id, one.entry, bytes)
      if not size then
        last = n - 1
        break
      end
      bytes = bytes + size
    end
    if last < #chosen then
      for n = last + 2, #chosen do
        put_back(chosen[n])
      end
      turns_of(chosen, last, open, turn, turns)
    end
    return chosen[last].lane
  end
end

local function promote_due()
  local due = call('ZRANGEBYSCORE', P .. 'later', '-inf', format('%.17g', now), 'LIMIT', 0, 200)
  for _, id in ipairs(due) do
    local row, kind = sound(id, nil, 'scheduled')
    if row then
      machine.promote(id, row, now)
    else
      score(P .. 'later', id, false)
      if kind == 'none' then
        machine.vanished(nil, id, 'scheduled')
      end
    end
  end
  if #due > 0 then
    write()
    reset()
  end
end

-- Seconds until something may be due in the lanes asked for, as text; '' if nothing waits there.
-- Whoever moves what is due to another lane rings there: it is no reason to look again. Whose the
-- first 32 are is seen; behind so many of other lanes it is looked after a tenth of a second.
local function due_in(open, told)
  local asked, first, left = {}, call('ZRANGE', P .. 'later', 0, 31, 'WITHSCORES'), 0
  for _, one in ipairs(open) do
    asked[one.lane] = true
  end
  for _, lane in ipairs(told) do
    asked[lane] = true
  end
  for i = 1, #first, 2 do
    left = math.max(0, tonumber(first[i + 1]) - now)
    local found = redis.pcall('HGET', task_key(first[i]), 's')
    local row = type(found) == 'string' and read_row(found)
    if not row or asked[row[LANE]] then
      return format('%.6f', left)
    end
  end
  if #first < 64 then
    return ''
  end
  return format('%.6f', left > 0 and math.max(left, 0.1) or 0)
end

--@main

local registered = unpacked(call('HGET', P .. 'workers', worker))
if not registered or registered[8] then
  return { 'lost' }
end
local turn = unpacked(call('HGET', P .. 'turns', worker)) or { 0, '', {} }
if number < turn[1] then
  return { 'old', whole(turn[1]) }
end
if number == turn[1] and answered_before() then
  write() -- what was set aside
  return { 'ok', '', envelopes, pack(heads), {} }
end
promote_due()
local open, told, wants = {}, {}, unpack_(ARGV[4])
for _, want in ipairs(wants) do
  if not lane_of(want[1])[1] then
    if want[2] > 0 then
      open[#open + 1] = { lane = want[1], most = want[2] }
    else
      told[#told + 1] = want[1]
    end
  end
end

for _ = 1, 10 do -- as often as all that is chosen turns out not to be there, or to be too late
  local chosen, turns = choose(open, limit, turn)
  if #chosen == 0 then
    break
  end
  local last = take_all(chosen, open, turn, turns)
  if #envelopes > 0 then
    turn = advance(turn, number, last, turns)
    call('HSET', P .. 'turns', worker, pack(turn))
    break
  end
  write()
  reset()
end
write()
local ready = wake_and_tell(open, told, #envelopes > 0)
local due = #envelopes == 0 and #ready == 0 and due_in(open, told) or ''
return { 'ok', due, envelopes, pack(heads), ready }
