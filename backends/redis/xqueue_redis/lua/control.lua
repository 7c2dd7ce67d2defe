-- Carry out commands from outside, each on its own.
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: dedupe horizon  2: longest time over which a client repeats a put (seconds)
--         3: packed [[kind, ...], ...], see `rules`  4...: envelopes of edits, by their number
-- RETURN: [did, of, count, at (text)] for each
-- libs: base row place machine aside standing
-- flags: allow-oom

local horizon = { dedupe = tonumber(ARGV[1]), client_retry = tonumber(ARGV[2]) } --@call
local rules = {}

local function answer(did, of, n, at)
  if not n then
    n = (did == 'applied' or did == 'requested') and 1 or 0
  end
  return { did, of or '', n, format('%.17g', at or 0) }
end

-- The row of a task, or what is to be answered in its place.
local function wanted(id, request)
  local row, kind, other = sound(id, nil, nil)
  if row then
    return row
  end
  local before = kind == 'stone' and other and wished_before(request, other[3], other[4])
  return nil, answer(before or 'unknown'), other
end

-- cancel, id, reason, request
function rules.cancel(id, reason, request)
  local row, instead = wanted(id, request)
  return instead or answer(machine.cancel(id, row, reason, request, now))
end

-- purge, id, seq (-1: none), request
function rules.purge(id, seq, request)
  local row, instead = wanted(id, request)
  local _, kind, aside = load_task(id)
  if not row and kind == 'quarantined' and aside then
    forget_aside(id, aside, request, now, 2 * horizon.client_retry)
    return answer('applied')
  end
  return instead or answer(machine.purge(id, row, seq, request, now, horizon))
end

-- reschedule, id, delay, run_at (-1: none)
function rules.reschedule(id, delay, run_at)
  local row, instead = wanted(id, '')
  local due = run_at >= 0 and run_at or now + delay
  return instead or answer(machine.reschedule(id, row, due, now))
end

-- replay, id, request, seq (-1: none), delay, [number of the envelope (0: no put would pass it),
-- priority, max_retry, replays] or []
function rules.replay(id, request, seq, delay, edit)
  local row, instead = wanted(id, '')
  if instead then
    return instead
  end
  local new
  if #edit > 0 then
    new = { envelope = edit[1] > 0 and ARGV[3 + edit[1]] or nil, priority = edit[2], max_retry = edit[3],
      replays = edit[4] }
  end
  return answer(machine.replay(id, row, request, seq, delay, new, now))
end

-- unpark, lane, key, number
function rules.unpark(lane, key, n)
  write()
  reset()
  local did = 0
  if n >= 1 then
    for _, id in ipairs(call('ZRANGE', line_key(lane, key), 0, n - 1)) do
      local row, kind = sound(id, lane, nil)
      if row and machine.leave(id, row, now) == 'applied' then
        did = did + 1
      else
        score(line_key(lane, key), id, false)
        lines_touched[lane .. '\0' .. key] = line_key(lane, key)
      end
      if kind == 'none' then
        machine.vanished(lane, id, 'parked')
        machine.vanished(lane, id, 'pending')
      end
    end
  end
  return answer('applied', '', did)
end

local function set_paused(name, paused_)
  local lane = lane_of(name)
  if lane[1] ~= paused_ then
    local new = { paused_, paused_for(name, now), now }
    call('HSET', P .. 'lanes', name, pack(new))
    lanes_seen[name] = new
    -- When something is due in it is another time now: the next upkeep is to look.
    call('ZADD', P .. 'alarms', 'LT', format('%.17g', now), name)
    ring(name, TOKENS)
  end
  return answer('applied', '', 0)
end

function rules.pause(lane)
  return set_paused(lane, true)
end

function rules.resume(lane)
  return set_paused(lane, false)
end

local function lives(lane, type_)
  local prefix = lane .. '/' .. type_ .. '/'
  local found = call('HMGET', P .. 'counts', prefix .. 'scheduled', prefix .. 'pending',
    prefix .. 'processing')
  for i = 1, 3 do
    if tonumber(found[i] or '0') > 0 then
      return true
    end
  end
  return false
end

-- declare, type, lane
function rules.declare(type_, lane)
  write()
  reset()
  local known = call('HGET', P .. 'types', type_)
  if known == lane then
    return answer('applied', '', 0)
  end
  if known and lives(known, type_) then
    return answer('conflict', known)
  end
  call('HSET', P .. 'types', type_, lane)
  call('HSETNX', P .. 'lanes', lane, pack({ false, 0, 0 }))
  return answer('applied', '', 0)
end

-- locate, type
function rules.locate(type_)
  local known = call('HGET', P .. 'types', type_)
  return known and answer('applied', known, 0) or answer('unknown')
end

-- announce, schedule, rule, after, unheard
function rules.announce(schedule, rule, after, unheard)
  return answer(announce(schedule, rule, after, unheard))
end

-- order, worker, quiet, stop
function rules.order(worker, quiet, stop)
  if call('HEXISTS', P .. 'workers', worker) == 0 then
    return answer('unknown')
  end
  call('HSET', P .. 'orders', worker, pack({ quiet, stop }))
  return answer('applied', '', 0)
end

--@main

local answers = {}
for i, command in ipairs(unpack_(ARGV[3])) do
  answers[i] = rules[command[1]](unpack(command, 2))
end
write()
return answers
