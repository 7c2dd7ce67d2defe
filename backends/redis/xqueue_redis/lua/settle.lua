-- Record how deliveries ended (P1.5).
--
-- KEYS: [1] {namespace}:meta
-- ARGV: five for each outcome: id, token, kind, what the kind has, and bytes:
--         success: content type, result         canceled: reason, ''
--         failed, timeout: [reason, brief], failure
--         retry: [reason, brief, delay, timed out], failure
--         handback: [ran, reason, unable], ''    parked: '', ''
-- RETURN: for each outcome 2 if it was applied, 1 if this token was settled before, 0 if it is
--         lost
-- libs: base row place machine aside short
-- flags: allow-oom

local CODES = { applied = 2, repeated = 1, lost = 0 }

local function with_failure(kind, head, body)
  local told = unpack_(head)
  local failure = { reason = told[1], brief = told[2], body = body }
  return { kind = kind, failure = failure, delay = told[3], timed_out = told[4] }
end

local readers = { failed = with_failure, timeout = with_failure, retry = with_failure }

function readers.success(kind, head, body)
  return { kind = kind, content_type = head, result = body }
end

function readers.canceled(kind, head)
  return { kind = kind, reason = head }
end

function readers.handback(kind, head)
  local told = unpack_(head)
  return { kind = kind, ran = told[1], reason = told[2], unable = told[3] }
end

function readers.parked(kind)
  return { kind = kind }
end

--@main

local answers = {}
for i = 1, #ARGV, 5 do
  local id, token, kind = ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2]
  local row, state, stone = sound(id, nil, nil)
  local did = 'lost'
  if row then
    local before = kind == 'success' and read_bytes[id]
    local known = before and running_middle(row, before)
    did = machine.settle(id, row, token, readers[kind](kind, ARGV[i + 3], ARGV[i + 4]), now)
    if did == 'applied' and known then
      ready_bytes[id] = success_bytes(row, before, known)
    end
  elseif state == 'stone' and stone and knows(stone[2], token) then
    did = 'repeated'
  end
  answers[#answers + 1] = CODES[did]
end
write()
return answers
