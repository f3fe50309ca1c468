using System;
using System.Runtime.InteropServices;
using System.Text;

namespace Gen3d
{
    /// <summary>gen3d.h, as it is.</summary>
    internal static class Native
    {
        private const string Library = "gen3d";

        [UnmanagedFunctionPointer(CallingConvention.Cdecl)]
        internal delegate int Progress(IntPtr context, IntPtr component, double done);

        /// <summary>gen3d_request: fields in the header's order, at the header's places.</summary>
        [StructLayout(LayoutKind.Sequential)]
        internal struct Request
        {
            internal UIntPtr Size;
            internal IntPtr Prompt;
            internal ulong Seed;
            internal IntPtr Features;
            internal IntPtr FeaturesShape;
            internal UIntPtr FeaturesAxes;
            internal int KeepPrograms;
            internal IntPtr Progress;
            internal IntPtr Context;
        }

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr gen3d_version();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr gen3d_runtime_version();

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Code gen3d_set_threads(uint count);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Code gen3d_open(byte[] path, out BundleHandle bundle, out IntPtr message);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void gen3d_close(IntPtr bundle);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Code gen3d_verify(byte[] path, out IntPtr message);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern IntPtr gen3d_info(BundleHandle bundle);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Code gen3d_load(BundleHandle bundle, out IntPtr message);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Code gen3d_run(BundleHandle bundle, ref Request request, out AssetHandle asset, out IntPtr message);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void gen3d_free_asset(IntPtr asset);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Code gen3d_mesh(AssetHandle asset, out IntPtr vertices, out IntPtr normals, out UIntPtr count,
                                               out IntPtr faces, out UIntPtr faceCount);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Code gen3d_voxels(AssetHandle asset, out IntPtr occupied, out UIntPtr resolution);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern Code gen3d_write(AssetHandle asset, byte[] path, out IntPtr message);

        [DllImport(Library, CallingConvention = CallingConvention.Cdecl)]
        internal static extern void gen3d_free_text(IntPtr text);

        /// <summary>A text for the library: UTF-8 with a NUL behind it.</summary>
        internal static byte[] Text(string text, string what)
        {
            if (text == null) throw new ArgumentNullException(what);
            if (text.IndexOf('\0') >= 0) throw new Gen3dException(Code.Usage, what + ": has a NUL");
            return Encoding.UTF8.GetBytes(text + "\0");
        }

        /// <summary>A text of the library, which stays the library's.</summary>
        internal static string Read(IntPtr text)
        {
            if (text == IntPtr.Zero) return "";
            int length = 0;
            while (Marshal.ReadByte(text, length) != 0) ++length;
            var bytes = new byte[length];
            Marshal.Copy(text, bytes, 0, length);
            return Encoding.UTF8.GetString(bytes);
        }

        /// <summary>A text of the library, which is freed.</summary>
        internal static string Take(IntPtr text)
        {
            try
            {
                return Read(text);
            }
            finally
            {
                gen3d_free_text(text);
            }
        }

        /// <summary>Throws what a code and a message say; the message is freed.</summary>
        internal static void Check(Code code, IntPtr message)
        {
            string text = Take(message);
            if (code != Code.Ok) throw new Gen3dException(code, text);
        }
    }

    /// <summary>IL2CPP, which knows it by its name, lets native code call a static method that has it.</summary>
    [AttributeUsage(AttributeTargets.Method)]
    internal sealed class MonoPInvokeCallbackAttribute : Attribute
    {
        internal MonoPInvokeCallbackAttribute(Type type) { }
    }

    /// <summary>Owns a gen3d_bundle.</summary>
    internal sealed class BundleHandle : SafeHandle
    {
        internal BundleHandle() : base(IntPtr.Zero, true) { }

        public override bool IsInvalid { get { return handle == IntPtr.Zero; } }

        protected override bool ReleaseHandle()
        {
            Native.gen3d_close(handle);
            return true;
        }
    }

    /// <summary>Owns a gen3d_asset.</summary>
    internal sealed class AssetHandle : SafeHandle
    {
        internal AssetHandle() : base(IntPtr.Zero, true) { }

        public override bool IsInvalid { get { return handle == IntPtr.Zero; } }

        protected override bool ReleaseHandle()
        {
            Native.gen3d_free_asset(handle);
            return true;
        }
    }
}
