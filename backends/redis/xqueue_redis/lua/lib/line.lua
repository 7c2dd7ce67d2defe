-- How a key's permits pass from hand to hand: time, granting, giving back, and waking (P3).

-- A grant that its waiter did not take up passes on after so many seconds; a waiter that no longer
-- asks has left the line.
local TAKE_UP, SILENT = 2, 10

-- -- waking ---------------------------------------------------------------------------------------

-- Worker -> keys of which it was granted a permit that it does not know of yet.
local woken = {} --@call

local function wake(gate, who)
  local worker = gate.people[who]
  local keys = woken[worker] or {}
  keys[#keys + 1] = gate.key
  woken[worker] = keys
end

-- Most tokens in a worker's list, and how long (seconds) they lie there.
local WAKES, WAKE_FOR = 16, 10

-- Push what each blocked worker pops.
local function ring_workers()
  for worker, keys in pairs(woken) do
    local list = P .. 'permit:' .. worker
    local room = WAKES - call('LLEN', list)
    if room > 0 then
      call('RPUSH', list, unpack(keys, 1, math.min(room, #keys)))
      call('EXPIRE', list, WAKE_FOR)
    end
  end
end

-- -- time -----------------------------------------------------------------------------------------

-- Start the times again in another run; pass on the offers not taken up.
local function turn(gate)
  local held, waiting = gate.holders.lines, gate.waiters.lines
  if gate.epoch ~= epoch then
    gate.epoch, gate.changed = epoch, true
    gate.mending = gate.mending >= 0 and now or -1
    for i = 1, #held, LINE do
      held[i + OFFERED] = held[i + OFFERED] >= 0 and now or -1
    end
    for i = 1, #waiting, LINE do
      waiting[i + SINCE], waiting[i + ASKED] = now, now
    end
  end
  for i = 1, #held, LINE do
    local offered = held[i + OFFERED]
    if offered >= 0 and held[i] and apart(offered) > TAKE_UP then
      drop(gate, gate.holders, i)
    end
  end
end

-- Drop the permits and places of the dead, those that `terms` (worker -> term) does not name;
-- with `silent` who no longer asks, too.
local function expire(gate, terms, silent)
  local dead, people = {}, gate.people
  for who = 1, #people, PERSON do
    if people[who + LINES] > 0 and terms[people[who]] ~= people[who + TERM] then
      dead[who] = true
    end
  end
  local held, waiting = gate.holders.lines, gate.waiters.lines
  for i = 1, next(dead) and #held or 0, LINE do
    if held[i] and dead[held[i + WHO]] then
      drop(gate, gate.holders, i)
    end
  end
  for i = 1, #waiting, LINE do
    local left = dead[waiting[i + WHO]] or (silent and apart(waiting[i + ASKED]) > SILENT)
    if left and waiting[i] then
      drop(gate, gate.waiters, i)
    end
  end
end

-- True if so many more requests may not all be granted.
local function is_tight(gate, wanted)
  local limit = limit_of(gate)
  local all = gate.holders.n + gate.waiters.n + wanted
  return gate.mending >= 0 or (limit >= 0 and all > limit)
end

-- -- granting -------------------------------------------------------------------------------------

-- Make this a holder, with the next token: microseconds, so that it grows also after the key went.
local function grant(gate, id, who, offered)
  gate.token = math.max(gate.token + 1, micros(now))
  add(gate, gate.holders, id, who, gate.token, offered)
end

-- Grant what is free to those first in line, and wake those that are not `present` in this call.
-- Without a limit nobody needs a permit.
local function hand_out(gate, present)
  local limit, waiting = limit_of(gate), gate.waiters.lines
  local free = gate.mending < 0 and limit - gate.holders.n or 0
  for i = 1, (limit < 0 or free > 0) and gate.waiters.n > 0 and #waiting or 0, LINE do
    local id, who = waiting[i], waiting[i + WHO]
    if id and limit < 0 then
      wake(gate, who)
      drop(gate, gate.waiters, i)
    elseif id and free > 0 then
      free = free - 1
      if not present[id] then
        wake(gate, who)
      end
      drop(gate, gate.waiters, i)
      grant(gate, id, who, present[id] and -1 or now)
    end
  end
end

-- Note that the limit may have changed from `before`.
local function limit_changed(gate, before)
  gate.changed = true
  if limit_of(gate) ~= before then
    gate.version = math.max(gate.version + 1, micros(now))
    hand_out(gate, {})
  end
end

-- Take back a permit or a place, without granting it anew. Token 0 stands for whatever the request
-- has by now: who withdraws knows no token. True if it was a permit.
local function take_back(gate, id, token)
  local i = line_of(gate.holders, id)
  if i then
    local ours = token == 0 or token == gate.holders.lines[i + TOKEN]
    if ours then
      drop(gate, gate.holders, i)
    end
    return ours
  end
  i = token == 0 and line_of(gate.waiters, id)
  if i then
    drop(gate, gate.waiters, i)
  end
end
