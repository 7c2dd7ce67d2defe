-- Take tasks for a worker (P1.2, P2.3).
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: worker  2: number of the call  3: most tasks  4: packed [[lane, most], ...]
-- RETURN: [what, seconds until something is due (text; '' if nothing is), envelopes,
--         packed [[id, token, attempt, losses, accepted_at, due_at, leased_at], ...], ready lanes];
--         what is 'ok', 'lost' (nobody knows the worker), or 'old' (the second is its last call)
-- libs: base row place machine aside choice short
-- flags: allow-oom

local worker, number, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]) --@call
local envelopes, heads = {}, {} --@call
-- Looks at tasks that turn out not to be there, or to have waited too long.
local ROUNDS = 10

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

-- Lease a task that was found as one that waits; false if it does not.
local function take(lane, level, id, entry)
  if tasks[id] then
    return false -- it lay here twice, and was taken
  end
  local found = redis.pcall('HMGET', task_key(id), 's', 'e')
  local row = not found.err and read_row(found[1])
  if not row then
    stray(lane, level, id, entry)
    return false
  end
  tasks[id] = row
  if row[ENTRY] ~= entry or row[STATE] ~= 'pending' or row[PARKED] then
    if entry == '' then -- somebody put it there, where it would come first for ever
      score(early_key(lane, level), id, false)
      call('SADD', P .. 'repair', lane)
    end
    return false
  end
  if machine.lease(id, row, worker, number, micros(now), now) ~= 'applied' then
    return false
  end
  ready_bytes[id] = leased_bytes(row, found[1], entry)
  deliver(id, row, found[2])
  return true
end

-- The first that waits for its time: its id and when that is, or nothing.
local function first_later()
  return call('ZRANGE', P .. 'later', 0, 0, 'WITHSCORES')
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
  write()
  reset()
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
  return { 'ok', '', envelopes, pack(heads), {} }
end
local first = first_later()
if first[2] and tonumber(first[2]) <= now then
  promote_due()
  first = first_later()
end
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

for _ = 1, ROUNDS do
  local chosen, turns, last = choose(open, limit, turn)
  if #chosen == 0 then
    break
  end
  for _, one in ipairs(chosen) do
    take(one.lane, one.level, one.id, one.entry)
  end
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
local due = first[2] and format('%.6f', math.max(0, tonumber(first[2]) - now)) or ''
return { 'ok', due, envelopes, pack(heads), ready }
