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

local PORTION_ = 200
local horizon = { dedupe = tonumber(ARGV[3]), client_retry = tonumber(ARGV[4]) } --@call
local more, next_at = false, now + 3600 --@call

local function text(n)
  return format('%.17g', n)
end

local function due_of(key, until_)
  local found = call('ZRANGEBYSCORE', key, '-inf', text(until_), 'LIMIT', 0, PORTION_)
  more = more or #found == PORTION_
  return found
end

local function first_in(key)
  return tonumber(call('ZRANGE', key, 0, 0, 'WITHSCORES')[2])
end

local function wanted_at(at)
  next_at = at and math.min(next_at, math.max(now, at)) or next_at
end

-- When the first of a lane's tasks is to be expired or expunged; nil if none is known to be.
local function deadline_of(lane)
  local expires, ends = nil, first_in(P .. 'done:' .. lane)
  if not lane_of(lane)[1] then
    expires = first_in(P .. 'expiring:' .. lane)
    expires = expires and expires + paused_for(lane, now)
  end
  return expires and ends and math.min(expires, ends) or expires or ends
end

local function promote_due()
  local key = P .. 'later'
  for _, id in ipairs(due_of(key, now)) do
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
local function expire_due(lane)
  local key = P .. 'expiring:' .. lane
  local paused_ = paused_for(lane, now)
  for _, id in ipairs(due_of(key, now - paused_)) do
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
end

local function expunge_due(lane)
  local key = P .. 'done:' .. lane
  for _, id in ipairs(due_of(key, now)) do
    local row = sound(id, lane, '')
    local did = row and machine.expunge(id, row, now, horizon) or 'live'
    if did == 'early' then
      score(key, id, expunged_at(row))
    elseif did == 'live' then
      score(key, id, false)
    end
  end
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
-- this is called, and at most so many in a call, those looked at longest ago first.
local LANES = { FEW = 16, RATE = 1000, CALL = 500 }

-- The lanes to look at, and true if these are not all.
local function lanes_to_see()
  local n = call('HLEN', P .. 'lanes')
  if n <= LANES.FEW then
    return call('HKEYS', P .. 'lanes'), false
  end
  local lanes, chosen = due_of(P .. 'alarms', now), {}
  for _, lane in ipairs(lanes) do
    chosen[lane] = true
  end
  local ago = math.abs(now - tonumber(call('HGET', P .. 'meta', 'toured') or '0'))
  local most = math.min(LANES.CALL, math.floor(ago * LANES.RATE))
  if most > 0 then
    call('HSET', P .. 'meta', 'toured', text(now))
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

local function each_lane(lanes, act)
  for _, lane in ipairs(lanes) do
    act(lane)
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
each_lane(lanes, expire_due)
each_lane(lanes, expunge_due)
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
  if some then
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
