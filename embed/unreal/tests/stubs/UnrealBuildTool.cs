// The part of UnrealBuildTool that Gen3dUnreal.Build.cs uses; Main shows what the module asks for.
using System;
using System.Collections.Generic;

namespace UnrealBuildTool
{
    public enum UnrealTargetPlatform { Linux, Mac }
    public enum CppStandardVersion { Cpp17 }

    public sealed class ReadOnlyTargetRules
    {
        public UnrealTargetPlatform Platform;
    }

    public sealed class RuntimeDependencyList : List<string> { }

    public class ModuleRules
    {
        public enum PCHUsageMode { UseExplicitOrSharedPCHs }
        public PCHUsageMode PCHUsage;
        public CppStandardVersion CppStandard;
        public string PluginDirectory = Environment.GetEnvironmentVariable("PLUGIN");
        public List<string> PublicDependencyModuleNames = new List<string>(), PublicSystemIncludePaths = new List<string>();
        public List<string> PublicAdditionalLibraries = new List<string>(), PublicRuntimeLibraryPaths = new List<string>();
        public RuntimeDependencyList RuntimeDependencies = new RuntimeDependencyList();
        public ModuleRules(ReadOnlyTargetRules target) { }

        private static void Main()
        {
            var rules = new Gen3dUnreal(new ReadOnlyTargetRules { Platform = UnrealTargetPlatform.Linux });
            foreach (var list in new[] { rules.PublicSystemIncludePaths, rules.PublicAdditionalLibraries, rules.RuntimeDependencies })
                foreach (string path in list) Console.WriteLine(path);
        }
    }
}
