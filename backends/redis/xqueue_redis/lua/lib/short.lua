-- Rows written without packing them anew, for the tasks that most are: put, leased and ended once.
-- The bytes are those that pack() would make, or stand for the same values; what they are made of
-- is compared byte by byte, and everything else is packed as ever.
--
-- A row's bytes are HEADER, STATE, the five numbers RANK to WAIT_BASE (9 bytes each, here), SEQ (one
-- byte), the middle (DELIVERY to WISH_TOLD), what the envelope says (LANE to READABLE), and ENTRY.

local NUMBERS = 45
-- The middle of a task that has not been leased.
local BLANK = '\0\0\0\160\0\0\194\0\160\160\160\0\160\0\160\144\144\160\194'
local BEGINS = { pending = HEADER .. '\167pending', scheduled = HEADER .. '\169scheduled',
  processing = HEADER .. '\170processing', success = HEADER .. '\167success' }

-- Where a row's middle begins.
local function middle_at(state)
  return #BEGINS[state] + NUMBERS + 2
end

local function entry_bytes(entry)
  return string.char(160 + #entry) .. entry
end

-- The middle of a row, packed.
local function middle_of(row)
  return pack(unpack(row, DELIVERY, WISH_TOLD))
end

-- -- put -----------------------------------------------------------------------------------------

-- A new row in front of LANE as clients send it.
local BEGUN = HEADER .. '\167pending\0\0\0\0\0\0' .. BLANK

local function fresh_of(_, ...)
  return { 'pending', 0, 0, 0, 0, 0, 0, 0, 0, 0, '', 0, 0, false, 0, '', '', '', 0, '', 0, '', {}, {},
    '', false, ... }
end

-- The row of a new task, and what its envelope says as it came; or nil where that is to be packed.
local function read_fresh(bytes)
  if string.find(bytes, BEGUN, 1, true) ~= 1 then
    return unpack_(bytes), nil
  end
  local row = fresh_of(unpack_limit(bytes, WIDTH - LANE + 1, #BEGUN))
  return row, string.sub(bytes, #BEGUN + 1, -2)
end

-- A time -> its bytes: a batch has few of them.
local time_bytes = {} --@call

local function bytes_of(at)
  local bytes = time_bytes[at]
  if not bytes then
    bytes = struct.pack('>Bd', 0xcb, at) -- MessagePack's float of 8 bytes
    time_bytes[at] = bytes
  end
  return bytes
end

-- The bytes of a row that was accepted, of which only STATE to SEQ and ENTRY have been set.
local function accepted_bytes(row, told)
  return BEGINS[row[STATE]] .. struct.pack('>BI8', 0xcf, row[RANK]) .. bytes_of(row[ACCEPTED_AT])
    .. bytes_of(row[DUE_AT]) .. bytes_of(row[WAIT_FROM]) .. bytes_of(row[WAIT_BASE])
    .. string.char(row[SEQ]) .. BLANK .. told .. entry_bytes(row[ENTRY])
end

-- -- lease ---------------------------------------------------------------------------------------

-- Token -> the middle of the rows that this call has leased by it for the first time.
local first_middles = {} --@call

-- The bytes of a row that has just been leased, from those before; nil if it was no new one. SEQ
-- tells that the numbers have their places: together with it they are nowhere else as long.
local function leased_bytes(row, before, entry)
  local at = middle_at('pending')
  if row[SEQ] > 127 or #entry > 31 or string.find(before, BLANK, at, true) ~= at then
    return nil
  end
  local middle = first_middles[row[DELIVERY]]
  if not middle then
    middle = middle_of(row)
    first_middles[row[DELIVERY]] = middle
  end
  return BEGINS.processing .. string.sub(before, at - NUMBERS - 1, at - 2) .. string.char(row[SEQ])
    .. middle .. string.sub(before, at + #BLANK, -#entry - 2) .. entry_bytes(row[ENTRY])
end

-- -- settle --------------------------------------------------------------------------------------

-- Token -> the middle of rows that run by it, and by content type the one behind their success.
local running = {} --@call

-- The middle of a row that runs, if it stands in these bytes where it stands in a short one's.
local function running_middle(row, before)
  if row[STATE] ~= 'processing' or row[SEQ] > 126 or row[ENTRY] ~= '' then
    return nil
  end
  local known = running[row[DELIVERY]]
  if not known then
    known = { middle = middle_of(row), after = {} }
    running[row[DELIVERY]] = known
  end
  local at = middle_at('processing')
  return string.find(before, known.middle, at, true) == at and known or nil
end

-- The bytes of a row that succeeded, from those before it and what running_middle() found.
local function success_bytes(row, before, known)
  local middle = known.after[row[RESULT_TYPE]]
  if not middle then
    middle = middle_of(row)
    known.after[row[RESULT_TYPE]] = middle
  end
  local at = middle_at('processing')
  return BEGINS.success .. string.sub(before, at - NUMBERS - 1, at - 2) .. string.char(row[SEQ])
    .. middle .. string.sub(before, at + #known.middle, -1)
end
