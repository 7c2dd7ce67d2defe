-- Workers' leases: who is alive, and when that may be judged (P1.2, P1.4).

-- Places in the row of a worker, and in the mark.
local W = { SEEN = 1, LEASE = 2, HEARTBEAT = 3, NUMBER = 4, HOST = 5, PID = 6, STARTED_AT = 7,
  DEAD = 8, WAITING = 9, RUN = 10 }
local M = { SEEN = 1, RUN = 2, GRACE = 3, LEASE = 4, HEARTBEAT = 5 }

-- AHEAD: a clock that is corrected by so many seconds at a time costs nobody anything. PORTION: most
-- deliveries that one call of upkeep takes from the dead; BURIED: most workers that it declares
-- dead. ORDERED: for so many seconds the dead may come back and do what they were ordered.
local DEATH = { AHEAD = 1, PORTION = 1000, BURIED = 500, ORDERED = 3600 }

local function worker_of(name)
  return unpacked(call('HGET', P .. 'workers', name))
end

local function save_worker(name, worker)
  call('HSET', P .. 'workers', name, pack(worker))
end

-- What a worker holds: a list of { id, token, call, canceled }.
local function held_by(name)
  local flat = call('HGETALL', P .. 'held:' .. name)
  local found = {}
  for i = 1, #flat, 2 do
    local token, number, canceled = string.match(flat[i + 1], '^(%d+):(%d+):(%d)$')
    found[#found + 1] = { flat[i], tonumber(token) or 0, tonumber(number) or 0, canceled == '1' }
  end
  return found
end

-- Forget a worker; not what it was ordered if it was declared `dead`, its row: it may come back.
local function forget_worker(name, dead)
  local orders = dead and unpacked(call('HGET', P .. 'orders', name))
  for _, hash in ipairs({ 'workers', 'beats', 'turns', 'orders' }) do
    call('HDEL', P .. hash, name)
  end
  if orders and (orders[1] or orders[2]) then
    call('HSET', P .. 'orders', name, pack({ orders[1], orders[2], now, dead[W.HOST], dead[W.PID],
      dead[W.STARTED_AT] }))
  end
end

local function forget_old_orders()
  local flat = call('HGETALL', P .. 'orders')
  for i = 1, #flat, 2 do
    local orders = unpacked(flat[i + 1])
    if not orders or (orders[3] and math.abs(now - orders[3]) > DEATH.ORDERED) then
      call('HDEL', P .. 'orders', flat[i])
    end
  end
end

-- Take from a worker marked dead what it held, `most` of it, and forget it when that is all. How
-- many were taken, and true if that was all; a later call takes the rest.
local function give_up(name, worker, most)
  if most <= 0 then
    return 0, false
  end
  local waiting = {}
  for _, one in ipairs(worker[W.WAITING]) do
    waiting[one[1] .. ' ' .. whole(one[2])] = true
  end
  local held, n = held_by(name), 0
  for _, one in ipairs(held) do
    if n >= most then
      return n, false
    end
    n = n + 1
    local id, token = one[1], one[2]
    local row, kind = sound(id, nil, nil)
    if not row or machine.lose(id, row, token, waiting[id .. ' ' .. whole(token)], now) == 'lost' then
      hold(name, id, false)
    end
    if kind == 'none' then
      machine.vanished(nil, id, 'processing')
    end
  end
  forget_worker(name, worker)
  return n, true
end

-- The mark after a heartbeat of this worker: when workers could last renew.
local function mark_beat(run, lease, heartbeat)
  local mark = unpacked(call('GET', P .. 'mark'))
  if mark and mark[M.RUN] == run then
    lease, heartbeat = math.max(lease, mark[M.LEASE]), math.max(heartbeat, mark[M.HEARTBEAT])
    local ago = now - mark[M.SEEN]
    if ago >= 0 and ago <= 2 * heartbeat then
      if ago > heartbeat / 2 or lease > mark[M.LEASE] or heartbeat > mark[M.HEARTBEAT] then
        call('SET', P .. 'mark', pack({ now, run, mark[M.GRACE], lease, heartbeat }))
      end
      return
    end
  end
  -- Nobody could renew for a while: everybody gets a whole lease from now on.
  call('SET', P .. 'mark', pack({ now, run, now + lease, lease, heartbeat }))
end

-- Seconds until a worker's lease runs out. An outage of less than two of the slowest heartbeats
-- leaves no trace in the mark, so a lease lasts through one of these and the beats around it.
local function lease_left(worker, slowest, run)
  if worker[W.RUN] ~= run then
    return 0
  end
  local lasts = math.max(worker[W.LEASE], 2 * slowest + 2 * worker[W.HEARTBEAT])
  return worker[W.SEEN] + lasts - now
end

-- True if a silent worker is silent by itself, not because nobody could renew.
local function trusted(mark, workers, run)
  if not mark or mark[M.RUN] ~= run then
    return false
  end
  local heartbeat = 0
  for _, worker in pairs(workers) do
    if lease_left(worker, 0, run) > 0 then
      heartbeat = math.max(heartbeat, worker[W.HEARTBEAT])
    end
  end
  local ago = now - mark[M.SEEN]
  return ago >= 0 and ago <= 2 * heartbeat and now >= mark[M.GRACE]
end

-- All workers, by name; one whose row is damaged gets a lease to be heard of, as does one that was
-- last heard of in the future: the server's clock was set back since, and may have been by years.
local function all_workers(run)
  local flat = call('HGETALL', P .. 'workers')
  local found = {}
  for i = 1, #flat, 2 do
    local worker = unpacked(flat[i + 1])
    if not worker or #worker ~= W.RUN then
      worker = { now, 15, 1, 0, '', 0, 0, false, {}, run }
      save_worker(flat[i], worker)
    elseif worker[W.SEEN] > now + DEATH.AHEAD then
      worker[W.SEEN] = now
      save_worker(flat[i], worker)
    end
    found[flat[i]] = worker
  end
  return found
end

-- Give up on workers whose lease has run out. Seconds until one might again, `longest` at most;
-- whom, a list of name, lease and number of deliveries; and true if some of these are yet to be taken.
local function reclaim(run, longest)
  local workers = all_workers(run)
  local mark = unpacked(call('GET', P .. 'mark'))
  local judges = trusted(mark, workers, run)
  local slowest, lease, wanted, buried = 0, 0, longest, {}
  local room, unfinished = DEATH.PORTION, false

  local function take_from(name, worker)
    local n, all = give_up(name, worker, room)
    room, unfinished = room - n, unfinished or not all
  end

  for _, worker in pairs(workers) do
    slowest = math.max(slowest, worker[W.HEARTBEAT])
    lease = math.max(lease, worker[W.LEASE])
  end
  for name, worker in pairs(workers) do
    local left = lease_left(worker, slowest, run)
    if worker[W.DEAD] then
      take_from(name, worker)
    elseif left > 0 then
      wanted = math.min(wanted, left)
    elseif not judges then
      -- Look again as soon as everybody has had the lease that an outage gave them.
      local grace = mark and mark[M.RUN] == run and mark[M.GRACE] - now or 0
      wanted = grace > 0 and math.min(wanted, grace) or wanted
    elseif #buried >= 3 * DEATH.BURIED then
      unfinished = true
    else
      worker[W.DEAD] = true
      save_worker(name, worker)
      buried[#buried + 1] = name
      buried[#buried + 1] = format('%.17g', worker[W.LEASE])
      buried[#buried + 1] = call('HLEN', P .. 'held:' .. name)
      take_from(name, worker)
    end
  end
  forget_old_orders()
  if mark and lease > 0 and (lease < mark[M.LEASE] or slowest < mark[M.HEARTBEAT]) then
    mark[M.LEASE], mark[M.HEARTBEAT] = lease, slowest
    call('SET', P .. 'mark', pack(mark))
  end
  return math.max(wanted, 0.05), buried, unfinished
end
