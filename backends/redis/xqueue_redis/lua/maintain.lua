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

-- The next one's score; `shift` is what is to be added to it.
local function noted(key, shift)
  local first = call('ZRANGE', key, 0, 0, 'WITHSCORES')
  if first[2] then
    next_at = math.min(next_at, math.max(now, tonumber(first[2]) + shift))
  end
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

-- Longest time between two looks for events that are too old (seconds).
local TRIM_EVERY = 10
local function trim()
  local retention = tonumber(ARGV[2])
  local last = tonumber(call('HGET', P .. 'meta', 'trimmed') or '0')
  if math.abs(now - last) >= math.min(TRIM_EVERY, retention / 4) then
    call('HSET', P .. 'meta', 'trimmed', text(now))
    local before = math.max(0, math.floor((now - retention) * 1000))
    call('XTRIM', P .. 'events', 'MINID', '=', whole(before))
  end
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
local lanes = call('HKEYS', P .. 'lanes')
promote_due()
write()
reset()
each_lane(lanes, expire_due)
each_lane(lanes, expunge_due)
local wanted, buried = reclaim(ARGV[1], tonumber(ARGV[5]))
audit()
repair()
trim()
write()
noted(P .. 'later', 0)
for _, lane in ipairs(lanes) do
  if not lane_of(lane)[1] then
    noted(P .. 'expiring:' .. lane, paused_for(lane, now))
  end
  noted(P .. 'done:' .. lane, 0)
end
wanted = math.min(wanted, math.max(0, next_at - now))
more = more or call('EXISTS', P .. 'repair') == 1
local generation = call('HGET', P .. 'meta', 'generation') or ''
return { text(wanted), more and 1 or 0, generation, unpack(buried) }
