-- Whatever time brings about: promotion, expiry, expunging, giving up on dead workers, trimming,
-- and putting back what somebody removed from a stream. A portion of each at a time.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: the server's run id  2: seconds that events are kept  3: dedupe horizon  4: longest
--         time over which a client repeats a put  5: longest time until it is wanted again (all in
--         seconds)
-- RETURN: [seconds until it is wanted again (text), 1 if there was more than a portion, the
--         namespace's generation, name, lease, number of deliveries of each worker declared
--         dead, ...]
-- libs: base row place machine aside leases repair
-- flags: allow-oom

local PORTION_ = 200 -- of one lane, or of what is promoted
local horizon = { dedupe = tonumber(ARGV[3]), client_retry = tonumber(ARGV[4]) } --@call
local more, next_at = false, now + 3600 --@call

local function text(n)
  return format('%.17g', n)
end

local function due_of(key, until_, most)
  local found = call('ZRANGEBYSCORE', key, '-inf', text(until_), 'LIMIT', 0, most)
  more = more or #found == most
  return found
end

local function first_in(key)
  return tonumber(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end

local function wanted_at(at)
  next_at = at and math.min(next_at, math.max(now, at)) or next_at
end

-- When the first of a lane's tasks is to be expired or expunged; nil if none is known to be. In a
-- paused lane nobody's time goes on, but that of some may have been over before.
local function deadline_of(lane)
  local expires, ends = first_in(P .. 'expiring:' .. lane), first_in(P .. 'done:' .. lane)
  expires = expires and expires + paused_for(lane, now)
  if expires and expires > now and lane_of(lane)[1] then
    expires = nil
  end
  return expires and ends and math.min(expires, ends) or expires or ends
end

local function promote_due()
  local key = P .. 'later'
  for _, id in ipairs(due_of(key, now, PORTION_)) do
    local row, kind = sound(id, nil, 'scheduled')
    if not row or machine.promote(id, row, now) == 'idle' then
      score(key, id, false)
    end
    if kind == 'none' then
      machine.vanished(nil, id, 'scheduled')
    end
  end
end

-- Also of a lane that is paused: of some the time was over before.
local function expire_due(lane, most)
  local key = P .. 'expiring:' .. lane
  local paused_ = paused_for(lane, now)
  local due = due_of(key, now - paused_, most)
  for _, id in ipairs(due) do
    local row = sound(id, lane, nil) -- it may be parked, or wait for its time again
    local did, deadline = 'idle', nil
    if row then
      did, deadline = machine.expire(id, row, now)
    end
    if did == 'early' then
      score(key, id, deadline - paused_)
    elseif did == 'idle' then
      score(key, id, false)
    end
  end
  return #due
end

local function expunge_due(lane, most)
  local key = P .. 'done:' .. lane
  local due = due_of(key, now, most)
  for _, id in ipairs(due) do
    local row = sound(id, lane, '')
    local did = row and machine.expunge(id, row, now, horizon) or 'live'
    if did == 'early' then
      score(key, id, expunged_at(row))
    elseif did == 'live' then
      score(key, id, false)
    end
  end
  return #due
end

local function trim()
  local TRIM_EVERY = 10 -- longest time between two looks for events that are too old (seconds)
  local retention = tonumber(ARGV[2])
  local last = tonumber(call('HGET', P .. 'meta', 'trimmed') or '0')
  if math.abs(now - last) >= math.min(TRIM_EVERY, retention / 4) then
    call('HSET', P .. 'meta', 'trimmed', text(now))
    local before = math.max(0, math.floor((now - retention) * 1000))
    call('XTRIM', P .. 'events', 'MINID', '=', whole(before))
  end
end

-- A few lanes are all looked at each time. Of more those in which something is known to be due, see
-- write_scores(); and, for what somebody else may have changed, so many in a second, however often
-- this is called, and at most so many in a call, those looked at longest ago first. TASKS: most that
-- one call expires in all lanes together, and most that it expunges: each takes some 25 us.
local LANES = { FEW = 16, RATE = 1000, CALL = 500, TASKS = 1000 }

-- The lanes to look at, and true if these are not all.
local function lanes_to_see()
  local n = call('HLEN', P .. 'lanes')
  if n <= LANES.FEW then
    return call('HKEYS', P .. 'lanes'), false
  end
  local lanes, chosen = due_of(P .. 'alarms', now, PORTION_), {}
  for _, lane in ipairs(lanes) do
    chosen[lane] = true
  end
  local ago = math.abs(now - tonumber(call('HGET', P .. 'meta', 'toured') or '0'))
  local most = math.min(LANES.CALL, math.floor(ago * LANES.RATE))
  if most > 0 then
    call('HSET', P .. 'meta', 'toured', text(now))
    local latest = call('ZRANGE', P .. 'tour', -1, -1, 'WITHSCORES')
    if latest[1] and tonumber(latest[2]) > now + 1 then
      call('DEL', P .. 'tour') -- the clock was set back: those would have to wait for it
    end
    if call('ZCARD', P .. 'tour') < n then
      local unseen = {}
      for i, lane in ipairs(call('HKEYS', P .. 'lanes')) do
        unseen[2 * i - 1], unseen[2 * i] = 0, lane
      end
      many(unseen, 2, 'ZADD', P .. 'tour', 'NX')
    end
    for _, lane in ipairs(call('ZRANGE', P .. 'tour', 0, most - 1)) do
      lanes[#lanes + 1] = not chosen[lane] and lane or nil
    end
  end
  return lanes, true
end

-- Act in each lane while the call may do more; `seen` keeps those in which it could.
local function each_lane(lanes, act, seen)
  local left = LANES.TASKS
  for _, lane in ipairs(lanes) do
    if left > 0 then
      left = left - act(lane, math.min(PORTION_, left))
    else
      seen[lane], more = nil, true
    end
  end
  write()
  reset()
end

--@main

-- In this order, for a task that was promoted may have waited too long, and one that has ended so
-- may be of no use to anybody.
local lanes, some = lanes_to_see()
promote_due()
write()
reset()
local seen = {}
for _, lane in ipairs(lanes) do
  seen[lane] = true
end
each_lane(lanes, expire_due, seen)
each_lane(lanes, expunge_due, seen)
local wanted, buried, unfinished = reclaim(ARGV[1], tonumber(ARGV[5]))
write()
reset() -- what follows compares what is written
audit()
repair()
trim()
wanted_at(first_in(P .. 'later'))
for _, lane in ipairs(lanes) do
  local deadline = deadline_of(lane)
  wanted_at(deadline)
  if some and seen[lane] then
    score(P .. 'tour', lane, now)
    score(P .. 'alarms', lane, deadline or false)
  end
end
if some then
  write()
  wanted_at(first_in(P .. 'alarms'))
end
wanted = math.min(wanted, math.max(0, next_at - now))
more = more or unfinished or call('EXISTS', P .. 'repair') == 1
local generation = call('HGET', P .. 'meta', 'generation') or ''
return { text(wanted), more and 1 or 0, generation, unpack(buried) }
