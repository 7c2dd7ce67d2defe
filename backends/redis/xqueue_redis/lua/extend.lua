-- One heartbeat of a worker (P1.2, P1.4).
--
-- KEYS: [1] {namespace}:meta
-- ARGV: 1: the server's run id  2: the beat, handed on unread
--         3: packed [worker, lease, heartbeat, answered, leaving, number, host, pid, started_at,
--         [lane, ...]]  4: packed [[id, token, waits], ...], what it holds
-- RETURN: ['ok', a code for each held one (0 lost, 1 kept, 2 cancel requested), paused lanes,
--         quiet (0, 1), stop (0, 1), time (text), seconds until something in its lanes is due (text;
--         '' if nothing is)], or ['taken', host, pid] if another worker of this id lives
-- libs: base row place machine aside leases
-- flags: allow-oom

local told, held = unpack_(ARGV[3]), unpack_(ARGV[4]) --@call
local name, host, pid, started_at, lanes = told[1], told[7], told[8], told[9], told[10] --@call

-- True if another process than the one that sent this, as far as both say which they are.
local function another(host_, pid_, started_at_)
  return started_at_ ~= 0 and started_at ~= 0
    and (host_ ~= host or pid_ ~= pid or started_at_ ~= started_at)
end

-- How long a heartbeat may be under way behind the one with which its worker left (seconds).
local LATE = 30

-- True if the worker that sent this has left since.
local function is_late(number)
  local left = started_at ~= 0 and number > 0 and unpacked(call('GET', P .. 'left:' .. name))
  return left and number < left[1] and left[2] == host and left[3] == pid and left[4] == started_at
end

-- What it is ordered to do. One that was declared dead, and is back, is told what it was ordered
-- before; another process of its id is not.
local function ordered()
  local orders = unpacked(call('HGET', P .. 'orders', name)) or { false, false }
  if orders[3] then
    if another(orders[4], orders[5], orders[6]) then
      call('HDEL', P .. 'orders', name)
      return { false, false }
    end
    call('HSET', P .. 'orders', name, pack({ orders[1], orders[2] }))
  end
  return orders
end

-- Hand back, uncharged, what the worker does not know that it has.
local function hand_back(found, known, upto, reason)
  for _, one in ipairs(found) do
    local id, token, number_ = one[1], one[2], one[3]
    if not known[id .. ' ' .. whole(token)] and number_ <= upto then
      local row, kind = sound(id, nil, nil)
      local back = { kind = 'handback', ran = false, reason = reason, unable = '' }
      if not row or machine.settle(id, row, token, back, now) ~= 'applied' then
        hold(name, id, false)
      end
      if kind == 'none' then
        machine.vanished(nil, id, 'processing')
      end
    end
  end
end

local function verdicts(found)
  local current, codes = {}, {}
  for _, one in ipairs(found) do
    current[one[1]] = one
  end
  for i, one in ipairs(held) do
    local has = current[one[1]]
    codes[i] = 0
    if has and has[2] == one[2] then
      codes[i] = has[4] and 2 or 1
    end
  end
  return codes
end

-- Seconds until a task that waits for its time, or not for ever, is to be seen to.
local function due_next()
  local at = tonumber(call('ZRANGE', P .. 'later', 0, 0, 'WITHSCORES')[2])
  for _, lane in ipairs(lanes) do
    local score_ = tonumber(call('ZRANGE', P .. 'expiring:' .. lane, 0, 0, 'WITHSCORES')[2])
    if score_ and not lane_of(lane)[1] then
      local expires = score_ + paused_for(lane, now)
      at = math.min(at or expires, expires)
    end
  end
  return at and format('%.6f', math.max(0, at - now)) or ''
end

--@main

local run, lease_, heartbeat, answered, leaving = ARGV[1], told[2], told[3], told[4], told[5]
local number = told[6]
local known = worker_of(name)
if known and known[W.DEAD] then
  give_up(name, known, math.huge) -- its tasks are being given away: then it begins anew
  write()
  reset()
  known = nil
end
if known and another(known[W.HOST], known[W.PID], known[W.STARTED_AT]) then
  return { 'taken', known[W.HOST], known[W.PID] }
end
local found = held_by(name)
local late = not known and is_late(number)
if leaving or late then
  hand_back(found, {}, math.huge, 'left')
  forget_worker(name)
  if not late then
    call('SET', P .. 'left:' .. name, pack({ number, host, pid, started_at }), 'EX', LATE)
  end
  write()
  return { 'ok', verdicts({}), {}, 0, 0, format('%.6f', now), '' }
end

local waiting, by_token = {}, {}
for _, one in ipairs(held) do
  by_token[one[1] .. ' ' .. whole(one[2])] = true
  if one[3] then
    waiting[#waiting + 1] = { one[1], one[2] }
  end
end
local overtaken = known and number < known[W.NUMBER]
if overtaken then
  -- A later one overtook it on its way: what waited then may have started since.
  number, waiting = known[W.NUMBER], known[W.WAITING]
end
save_worker(name, { now, lease_, heartbeat, number, host, pid, started_at, false, waiting, run })
if not overtaken then
  call('HSET', P .. 'beats', name, ARGV[2])
end
mark_beat(run, lease_, heartbeat)
hand_back(found, by_token, answered, 'unanswered')
local orders = ordered()
local paused_lanes = {}
for _, lane in ipairs(lanes) do
  if lane_of(lane)[1] then
    paused_lanes[#paused_lanes + 1] = lane
  end
end
write()
return { 'ok', verdicts(found), paused_lanes, orders[1] and 1 or 0, orders[2] and 1 or 0,
  format('%.6f', now), due_next() }
